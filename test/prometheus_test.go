package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/test/servers"
)

// startNginx puts nginx with limit_req in front of a server; refused tells how
// many calls it refused, of how many.
func startNginx(t *testing.T, upstream string, rate, burst int) (port string, refused func() (refused, calls int)) {
	t.Helper()
	nginx := servers.Need(t, "nginx", "nginx-light")
	dir := t.TempDir()
	port = servers.FreePort(t)
	access := filepath.Join(dir, "access.log")
	servers.Write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 512; }
http {
  log_format plain '$status $request_uri'; access_log %[2]s plain;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  limit_req_zone $server_port zone=z:1m rate=%[3]dr/s;
  server {
    listen 127.0.0.1:%[4]s;
    limit_req zone=z burst=%[5]d nodelay; limit_req_status 429;
    location / { proxy_pass http://127.0.0.1:%[6]s; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}`, dir, access, rate, port, burst, upstream))
	p := servers.Start(t, nil, nginx, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	servers.AwaitHTTP(t, p, "http://127.0.0.1:"+port+"/-/ready", func(status int) bool { return status == http.StatusUnauthorized })
	return port, func() (refused, calls int) {
		log, err := os.ReadFile(access)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(log)) {
			switch {
			case strings.HasPrefix(line, "429 "):
				refused++
				calls++
			case strings.Contains(line, "/api/"):
				calls++
			}
		}
		return refused, calls
	}
}

// TestPrometheus walks a real Prometheus behind a real rate limiter: what lands
// is exactly what was put in, and no call is refused.
func TestPrometheus(t *testing.T) {
	upstream, truth, series := servers.StartPrometheus(t)
	port, refused := startNginx(t, upstream, 20, 5)
	home := t.TempDir()

	src, err := os.ReadFile("../vendors/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(home, "prometheus.yaml")
	own := strings.Replace(string(src), "bucket: 50/s, burst: 5", "bucket: 20/s, burst: 5", 1)
	if own == string(src) {
		t.Fatal("the spec's limit is not where this test expects it")
	}
	servers.Write(t, spec, own)
	env := []string{"SLUICE_SECRET_PROMETHEUS_USER=" + servers.PrometheusUser, "SLUICE_SECRET_PROMETHEUS_PASSWORD=" + servers.PrometheusPassword, "SLUICE_HOME=" + home}
	out := run(t, env, 0, "run", spec, "--set", "base=http://127.0.0.1:"+port, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T06:00:00Z", "--no-progress")
	t.Log(out)
	n, calls := refused()
	t.Logf("%d series, %d samples, %d calls, %d refused", series, len(truth), calls, n)
	if n > 0 {
		t.Errorf("nginx refused %d of %d calls", n, calls)
	}
	var id string
	for _, word := range strings.Fields(out) {
		if strings.HasPrefix(word, "prometheus-2026") {
			id = strings.Trim(word, ".,:;")
		}
	}
	got := map[servers.Sample]int{}
	for line := range strings.Lines(run(t, env, 0, "read", id, "samples", "--set", "base=http://127.0.0.1:"+port, "--spec", spec)) {
		var row struct {
			Metric string
			Labels map[string]string
			Time   float64
			Value  string
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		labels, _ := json.Marshal(row.Labels)
		got[servers.Sample{Metric: row.Metric, Labels: string(labels), Time: int64(row.Time), Value: servers.Number(row.Value)}]++
	}
	for s, n := range truth {
		if got[s] != n {
			t.Errorf("%v is read back %d times, want %d", s, got[s], n)
		}
	}
	for s, n := range got {
		if truth[s] != n {
			t.Errorf("%v was never put in (%d times)", s, n)
		}
	}
	noSecretIn(t, home, servers.PrometheusPassword)
}
