package awstest

import (
	"net/http"
	"net/http/httptest"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// buckets are S3 in memory. gofakes3 keeps to If-None-Match where an object is
// put whole, and not where it is completed from parts, nor to If-Match where it
// is read: that we do for it.
type buckets struct{ to http.Handler }

func newBuckets() http.Handler {
	return buckets{gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server()}
}

func (b buckets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	action, match := objectAction(r), r.Header.Get("If-Match")
	if action == "CompleteMultipartUpload" && r.Header.Get("If-None-Match") == "*" || action == "GetObject" && match != "" {
		look := httptest.NewRecorder()
		b.to.ServeHTTP(look, httptest.NewRequest(http.MethodHead, "http://"+r.Host+r.URL.EscapedPath(), nil))
		if look.Code == http.StatusOK && look.Header().Get("ETag") != match {
			refuse(w, "s3", http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
			return
		}
	}
	b.to.ServeHTTP(w, r)
}
