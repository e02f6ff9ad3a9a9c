package servers

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

// A Sample is one sample that was put into Prometheus: the truth, never read
// through its API.
type Sample struct {
	Metric, Labels string // labels as canonical JSON
	Time           int64
	Value          string // as Number has it
}

// What is in Prometheus, and who may read it.
const (
	DataStart          = 1767225600          // 2026-01-01T00:00:00Z
	DataEnd            = DataStart + 6*60*60 // exclusive
	PrometheusUser     = "scraper"
	PrometheusPassword = "s3cret-prom"
	promHash           = "$2b$05$abcdefghijklmnopqrstuuPZMNE0paYlguApXl08SF799ZN7abktS" // bcrypt of PrometheusPassword
)

// makeSamples invents series whose labels are hard to quote, and writes them as
// OpenMetrics.
func makeSamples(t *testing.T, path string) (truth map[Sample]int, series int) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 11))
	truth = map[Sample]int{}
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

func seriesLines(r *rand.Rand, metric string, labels map[string]string, truth map[Sample]int) (lines []string) {
	canonical, _ := json.Marshal(labels)
	var quoted []string
	for _, name := range []string{"dev", "instance", "job"} {
		if v, ok := labels[name]; ok {
			quoted = append(quoted, name+`="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v)+`"`)
		}
	}
	step := int64(60 * []int{10, 20, 30}[r.IntN(3)])
	for at := int64(DataStart); at < DataEnd; at += step {
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
		truth[Sample{metric, string(canonical), at, Number(v)}]++
	}
	return lines
}

// Number is a value as float64, the only form that Prometheus keeps.
func Number(s string) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// StartPrometheus fills a real Prometheus and starts it.
func StartPrometheus(t *testing.T) (port string, truth map[Sample]int, series int) {
	t.Helper()
	prometheus, promtool := Need(t, "prometheus", "prometheus"), Need(t, "promtool", "prometheus")
	dir := t.TempDir()
	truth, series = makeSamples(t, filepath.Join(dir, "samples.om"))
	if out, err := exec.Command(promtool, "tsdb", "create-blocks-from", "openmetrics", filepath.Join(dir, "samples.om"), filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("filling Prometheus: %v\n%s", err, Tail(out))
	}
	Write(t, filepath.Join(dir, "web.yml"), "basic_auth_users: {"+PrometheusUser+": \""+promHash+"\"}\n")
	Write(t, filepath.Join(dir, "prom.yml"), "global: {scrape_interval: 1h}\n")
	port = FreePort(t)
	p := Start(t, nil, prometheus, "--config.file="+filepath.Join(dir, "prom.yml"), "--web.config.file="+filepath.Join(dir, "web.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--storage.tsdb.retention.time=50y", "--web.listen-address=127.0.0.1:"+port)
	AwaitHTTP(t, p, "http://"+PrometheusUser+":"+PrometheusPassword+"@127.0.0.1:"+port+"/-/ready", func(status int) bool { return status == http.StatusOK })
	return port, truth, series
}
