package awstest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
)

// part lets a batch through without its first n entries, which it reports as
// failed for SQS's own trouble.
func part(w http.ResponseWriter, r *http.Request, to http.Handler, body []byte, n int) {
	var batch map[string]any
	if err := json.Unmarshal(body, &batch); err != nil {
		refuse(w, "sqs", http.StatusBadRequest, "Injected", "no batch")
		return
	}
	entries, _ := batch["Entries"].([]any)
	n = min(n, len(entries))
	var failed []any
	for _, e := range entries[:n] {
		entry, _ := e.(map[string]any)
		failed = append(failed, map[string]any{"Id": entry["Id"], "Code": "InternalError", "SenderFault": false, "Message": "injected"})
	}
	out := map[string]any{}
	if n < len(entries) {
		batch["Entries"] = entries[n:]
		less, _ := json.Marshal(batch)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(less)), int64(len(less))
		rec := httptest.NewRecorder()
		to.ServeHTTP(rec, r)
		json.Unmarshal(rec.Body.Bytes(), &out)
	}
	others, _ := out["Failed"].([]any)
	out["Failed"] = append(others, failed...)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	json.NewEncoder(w).Encode(out)
}
