package test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sample is one sample that was put into Prometheus: the truth, never read
// through its API.
type sample struct {
	metric, labels string // labels as canonical JSON
	time           int64
	value          string // as Prometheus prints it
}

const (
	dataStart = 1767225600          // 2026-01-01T00:00:00Z
	dataEnd   = dataStart + 6*60*60 // exclusive
	promUser  = "scraper"
	promPass  = "s3cret-prom"
	promHash  = "$2b$05$abcdefghijklmnopqrstuuPZMNE0paYlguApXl08SF799ZN7abktS" // bcrypt of promPass
)

// makeSamples invents series whose labels are hard to quote, and writes them as
// OpenMetrics.
func makeSamples(t *testing.T, path string) (truth map[sample]int, series int) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 11))
	truth = map[sample]int{}
	metrics := []string{"cpu_load", "disk_used", "temp"}
	lines := map[string][]string{}
	devices := []string{"", `/a"b`, `c\d`, "eth", "x y", "line\nbreak"}
	for j := range 8 {
		job := fmt.Sprintf("grp-%02d", j)
		if j == 5 {
			job += " ünï"
		}
		for i := range 1 + r.IntN(6) {
			for _, m := range metrics[:1+r.IntN(3)] {
				for k := range 1 + r.IntN(2) {
					labels := map[string]string{"job": job, "instance": fmt.Sprintf("h%02d-%02d:9100", j, i)}
					if k > 0 || r.IntN(2) == 0 {
						labels["dev"] = devices[r.IntN(len(devices))] + strconv.Itoa(k)
					}
					series++
					lines[m] = append(lines[m], seriesLines(r, m, labels, truth)...)
				}
			}
		}
	}
	var b strings.Builder
	for _, m := range metrics {
		fmt.Fprintf(&b, "# TYPE %s gauge\n%s", m, strings.Join(lines[m], ""))
	}
	b.WriteString("# EOF\n")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return truth, series
}

func seriesLines(r *rand.Rand, metric string, labels map[string]string, truth map[sample]int) (lines []string) {
	canonical, _ := json.Marshal(labels)
	var quoted []string
	for _, name := range []string{"dev", "instance", "job"} {
		if v, ok := labels[name]; ok {
			quoted = append(quoted, name+`="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v)+`"`)
		}
	}
	step := int64(60 * []int{10, 20, 30}[r.IntN(3)])
	for at := int64(dataStart); at < dataEnd; at += step {
		var v string
		switch x := r.IntN(100); {
		case x < 10:
			continue
		case x < 12:
			v = "NaN"
		case x < 14:
			v = "+Inf"
		case x < 16:
			v = "9007199254740993"
		case x < 80:
			v = strconv.FormatFloat(float64(r.IntN(1e9))/1000, 'f', -1, 64)
		default:
			v = strconv.Itoa(r.IntN(1e6))
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %s %d\n", metric, strings.Join(quoted, ","), v, at))
		truth[sample{metric, string(canonical), at, number(v)}]++
	}
	return lines
}

// number is a value as float64, the only form that Prometheus keeps.
func number(s string) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// startPrometheus fills a real Prometheus and starts it.
func startPrometheus(t *testing.T) (port string, truth map[sample]int, series int) {
	t.Helper()
	prometheus, promtool := need(t, "prometheus", "prometheus"), need(t, "promtool", "prometheus")
	dir := t.TempDir()
	truth, series = makeSamples(t, filepath.Join(dir, "samples.om"))
	if out, err := exec.Command(promtool, "tsdb", "create-blocks-from", "openmetrics", filepath.Join(dir, "samples.om"), filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("filling Prometheus: %v\n%s", err, tail(out))
	}
	write(t, filepath.Join(dir, "web.yml"), "basic_auth_users: {"+promUser+": \""+promHash+"\"}\n")
	write(t, filepath.Join(dir, "prom.yml"), "global: {scrape_interval: 1h}\n")
	port = freePort(t)
	p := start(t, nil, prometheus, "--config.file="+filepath.Join(dir, "prom.yml"), "--web.config.file="+filepath.Join(dir, "web.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--storage.tsdb.retention.time=50y", "--web.listen-address=127.0.0.1:"+port)
	awaitHTTP(t, p, "http://"+promUser+":"+promPass+"@127.0.0.1:"+port+"/-/ready", func(status int) bool { return status == http.StatusOK })
	return port, truth, series
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startNginx puts nginx with limit_req in front of a server; refused tells how
// many calls it refused, of how many.
func startNginx(t *testing.T, upstream string, rate, burst int) (port string, refused func() (refused, calls int)) {
	t.Helper()
	nginx := need(t, "nginx", "nginx-light")
	dir := t.TempDir()
	port = freePort(t)
	access := filepath.Join(dir, "access.log")
	write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`
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
	p := start(t, nil, nginx, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	awaitHTTP(t, p, "http://127.0.0.1:"+port+"/-/ready", func(status int) bool { return status == http.StatusUnauthorized })
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
	upstream, truth, series := startPrometheus(t)
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
	write(t, spec, own)
	env := []string{"SLUICE_SECRET_PROMETHEUS_USER=" + promUser, "SLUICE_SECRET_PROMETHEUS_PASSWORD=" + promPass, "SLUICE_HOME=" + home}
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
	got := map[sample]int{}
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
		got[sample{row.Metric, string(labels), int64(row.Time), number(row.Value)}]++
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
	noSecretIn(t, home, promPass)
}
