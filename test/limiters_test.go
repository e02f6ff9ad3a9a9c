//go:build prove

package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/test/servers"
)

// Real limiters that nobody here wrote, each between four processes of the fleet
// and a real server. What they count is what counts.

const workOfLimiters = 6000 // items of the list: more than any case gets through

// startOrigin starts the server behind the limiters, nginx with answers that are
// files. Answers below /slow take about a second.
func startOrigin(t *testing.T) (port string) {
	t.Helper()
	nginx := servers.Need(t, "nginx", "nginx-light")
	dir := t.TempDir()
	var ids []string
	for i := range workOfLimiters {
		ids = append(ids, strconv.Itoa(i))
	}
	servers.Write(t, filepath.Join(dir, "list.json"), `{"items":[`+strings.Join(ids, ",")+`]}`)
	servers.Write(t, filepath.Join(dir, "item.json"), `{"value":1}`)
	servers.Write(t, filepath.Join(dir, "slow.json"), `{"value":"`+strings.Repeat("x", 6000)+`"}`)
	port = servers.FreePort(t)
	servers.Write(t, filepath.Join(dir, "nginx.conf"), nginxFront(dir)+fmt.Sprintf(`
  server {
    listen 127.0.0.1:%s; root %s; default_type application/json;
    location = /list { try_files /list.json =404; }
    location /item/ { try_files /item.json =404; }
    location /slow/ { limit_rate 3k; try_files /slow.json =404; }
  }
}`, port, dir))
	p := servers.Start(t, nil, nginx, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	servers.AwaitHTTP(t, p, "http://127.0.0.1:"+port+"/list", isOK)
	return port
}

func isOK(status int) bool { return status == http.StatusOK }

// nginxFront is how every configuration of nginx begins here.
func nginxFront(dir string) string {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	return fmt.Sprintf(`
%[2]s daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 512; }
http {
  access_log off; log_format timed '$msec $status $request_time $uri';
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
`, dir, user)
}

// A seen is one request that a limiter has logged.
type seen struct {
	at     time.Time // when it came in
	took   time.Duration
	status int
}

// readSeen reads lines of the form `END STATUS SECONDS PATH`.
func readSeen(t *testing.T, log string) (out []seen) {
	t.Helper()
	for line := range strings.Lines(log) {
		f := strings.Fields(line)
		if len(f) != 4 || f[3] == "/ready" || f[3] == "/list" {
			continue
		}
		end, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			continue // what else a server says
		}
		if !strings.Contains(f[0], ".") {
			end /= 1e6 // haproxy's are microseconds
		}
		took, err1 := strconv.ParseFloat(f[2], 64)
		status, err2 := strconv.Atoi(f[1])
		if err1 != nil || err2 != nil {
			t.Fatalf("the limiter's log has %q", line)
		}
		out = append(out, seen{time.UnixMicro(int64((end - took) * 1e6)), time.Duration(took * 1e9), status})
	}
	return out
}

// A limiter starts in front of a server and tells what it has seen.
type limiter func(t *testing.T, upstream string) (port string, log func() []seen)

// nginxLimit is nginx with one limit. /ready is answered before it is asked.
func nginxLimit(zone, limit string) limiter {
	return func(t *testing.T, upstream string) (string, func() []seen) {
		nginx := servers.Need(t, "nginx", "nginx-light")
		dir, port := t.TempDir(), servers.FreePort(t)
		access := filepath.Join(dir, "access.log")
		servers.Write(t, filepath.Join(dir, "nginx.conf"), nginxFront(dir)+fmt.Sprintf(`
  %s
  server {
    listen 127.0.0.1:%s; access_log %s timed;
    location = /ready { return 200; }
    location / { %s proxy_pass http://127.0.0.1:%s; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}`, zone, port, access, limit, upstream))
		p := servers.Start(t, nil, nginx, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
		servers.AwaitHTTP(t, p, "http://127.0.0.1:"+port+"/ready", isOK)
		return port, func() []seen {
			log, err := os.ReadFile(access)
			if err != nil {
				t.Fatal(err)
			}
			return readSeen(t, string(log))
		}
	}
}

// haproxyWindow is haproxy that counts a sliding window, refused calls too.
func haproxyWindow(calls int, seconds int) limiter {
	return func(t *testing.T, upstream string) (string, func() []seen) {
		haproxy := servers.Need(t, "haproxy", "haproxy")
		dir, port := t.TempDir(), servers.FreePort(t)
		servers.Write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(`
global
  maxconn 512
  log stdout format raw daemon
defaults
  mode http
  log global
  option dontlognull
  option http-ignore-probes
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:%[1]s
  log-format "%%[date(0,us)] %%ST 0 %%HP"
  stick-table type string len 8 size 10 expire %[4]ds store http_req_rate(%[3]ds)
  http-request return status 200 if { path /ready }
  http-request track-sc0 str(all)
  http-request return status 429 hdr Retry-After %[3]d if { sc0_http_req_rate gt %[2]d }
  default_backend b
backend b
  server s 127.0.0.1:%[5]s
`, port, calls, seconds, 2*seconds, upstream))
		p := servers.Start(t, nil, haproxy, "-db", "-f", filepath.Join(dir, "haproxy.cfg"))
		servers.AwaitHTTP(t, p, "http://127.0.0.1:"+port+"/ready", isOK)
		return port, func() []seen { return readSeen(t, p.Out.String()) }
	}
}

// TestLimiters: no call is refused by any of them, and what is used of the limit
// is what its kind allows, less one point.
func TestLimiters(t *testing.T) {
	origin := startOrigin(t)
	const zone = "limit_req_zone $server_port zone=z:1m "
	for _, c := range []struct {
		name, spec, path string
		limit            governor.Limit
		of               limiter
		lasts            time.Duration
	}{
		{"nginx limit_req 5/s burst 0", "spacing: 200ms", "item", governor.Limit{Kind: governor.Spacing, Count: 1, Per: 200 * time.Millisecond},
			nginxLimit(zone+"rate=5r/s;", "limit_req zone=z; limit_req_status 429;"), 60 * time.Second},
		{"nginx limit_req 60/m burst 0", "spacing: 1s", "item", governor.Limit{Kind: governor.Spacing, Count: 1, Per: time.Second},
			nginxLimit(zone+"rate=60r/m;", "limit_req zone=z; limit_req_status 429;"), 65 * time.Second},
		{"nginx limit_req 20/s burst 5", "bucket: 20/s, burst: 5", "item", governor.Limit{Kind: governor.Bucket, Count: 20, Per: time.Second, Burst: 5},
			nginxLimit(zone+"rate=20r/s;", "limit_req zone=z burst=5 nodelay; limit_req_status 429;"), 30 * time.Second},
		{"nginx limit_conn 4", "in_flight: 4", "slow", governor.Limit{InFlight: 4},
			nginxLimit("limit_conn_zone $server_port zone=z:1m;", "limit_conn z 4; limit_conn_status 429;"), 30 * time.Second},
		{"haproxy 50 in 1 s", "window: 50/s", "item", governor.Limit{Kind: governor.Window, Count: 50, Per: time.Second},
			haproxyWindow(50, 1), 30 * time.Second},
		{"haproxy 100 in 10 s", "window: 100/10s", "item", governor.Limit{Kind: governor.Window, Count: 100, Per: 10 * time.Second},
			haproxyWindow(100, 10), 65 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			port, log := c.of(t, origin)
			fleetBehind(t, "http://127.0.0.1:"+port, c.spec, c.path, func() { time.Sleep(c.lasts) })
			calls := log()
			refused := 0
			for i, s := range calls {
				switch s.status {
				case http.StatusOK:
				case http.StatusTooManyRequests, http.StatusServiceUnavailable:
					refused++
					if i > 1 { // a limiter that is itself kept from working sees calls bunched that were not
						t.Logf("refused at %v, %v after the one before, which came %v after another", s.at.Format("05.000"), s.at.Sub(calls[i-1].at), calls[i-1].at.Sub(calls[i-2].at))
					}
				default:
					t.Errorf("status %d", s.status)
				}
			}
			share, least := shareUsed(calls, c.limit), c.limit.Share(0)-0.01
			t.Logf("limiter %-30s %5d calls, %d refused; share used %.4f, allowed by the kind %.4f", c.name, len(calls), refused, share, c.limit.Share(0))
			if refused > 0 {
				t.Errorf("%d of %d calls were refused", refused, len(calls))
			}
			if share < least {
				t.Errorf("share used %.4f, want %.4f", share, least)
			}
		})
	}
}

// fleetBehind has four processes work behind a limiter while it lasts.
func fleetBehind(t *testing.T, base, limit, path string, while func()) {
	t.Helper()
	home := t.TempDir()
	spec := filepath.Join(home, "limited.yaml")
	servers.Write(t, spec, fmt.Sprintf(`name: limited
base_url: %q
limits: [{name: calls, %s}]
tiers:
  - {name: list, get: /list, items: ".items[]", key: .}
  - {name: items, get: "/%s/{list}", rows: "{value: .value}", table: values}
`, base, limit, path))
	env := []string{"SLUICE_HOME=" + home}
	ps := []*servers.Process{servers.Start(t, env, sluice, "run", spec, "--no-progress")}
	for range 3 {
		ps = append(ps, servers.Start(t, env, sluice, "worker", spec, "items"))
	}
	while()
	stopAll(t, ps)
}

// shareUsed is how much of a limit calls used while all of the fleet was at work:
// the first five seconds and the last are not counted.
func shareUsed(calls []seen, l governor.Limit) float64 {
	if len(calls) == 0 {
		return 0
	}
	from, to := calls[0].at.Add(5*time.Second), calls[len(calls)-1].at.Add(-2*time.Second)
	if l.InFlight > 0 {
		var busy time.Duration
		for _, s := range calls {
			begin, end := s.at, s.at.Add(s.took)
			if begin.Before(from) {
				begin = from
			}
			if end.After(to) {
				end = to
			}
			busy += max(end.Sub(begin), 0)
		}
		return busy.Seconds() / to.Sub(from).Seconds() / float64(l.InFlight)
	}
	var first, last time.Time
	n := 0
	for _, s := range calls {
		if s.at.Before(from) || s.at.After(to) {
			continue
		}
		if n == 0 {
			first = s.at
		}
		last = s.at
		n++
	}
	return float64(n-1) / last.Sub(first).Seconds() * l.Per.Seconds() / float64(l.Count)
}
