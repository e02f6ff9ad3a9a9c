package localfleet_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
)

// TestHistoryOfAnOlderHome: an item that has its audit log with it is read with
// all of it, and loses none when the next change moves it out.
func TestHistoryOfAnOlderHome(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	old := governor.Item{Rev: 7}
	at := time.Now().UTC().Round(0).Add(-time.Hour)
	for i := range 3 {
		old.Log = append(old.Log, governor.Entry{At: at.Add(time.Duration(i) * time.Second), By: "me", What: fmt.Sprint(i)})
	}
	doc, err := json.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "governor.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO item (vendor, rev, doc) VALUES ('v', 7, ?)`, string(doc)); err != nil {
		t.Fatal(err)
	}
	limits := []governor.Limit{{Name: "calls", Kind: governor.Bucket, Count: 5, Per: time.Second}}
	for _, change := range []string{"", "pause"} {
		want := 3
		if change != "" {
			want = 4
			if err := governor.Pause(t.Context(), h.Governor(), "v", governor.Note{By: "me", Why: "so"}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := governor.Status(t.Context(), h.Governor(), "v", limits, 0)
		if err != nil || len(r.Log) != want {
			t.Fatalf("%q: %d entries, want %d (%v)", change, len(r.Log), want, err)
		}
		for i, e := range r.Log[:3] {
			if e != old.Log[i] {
				t.Errorf("%q: entry %d is %+v", change, i, e)
			}
		}
	}
	if it, err := h.Governor().Load(t.Context(), "v"); err != nil || len(it.Log) != 0 {
		t.Errorf("%d entries stay in the item (%v)", len(it.Log), err)
	}
}
