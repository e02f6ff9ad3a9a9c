package fleet_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/fleet/fleettest"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/vendors"
)

// The shipped specs of vendors that have no server here are run, in virtual time,
// against stubs of what the vendors' documents say.

// counting holds a vendor's calls to a limit, as it would count them itself.
type counting struct {
	mu      sync.Mutex
	calls   []time.Time
	refused int
}

// over notes a call, and tells whether there were more than n in any span ending
// with it.
func (c *counting) over(n int, span time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.calls = append(c.calls, now)
	in := 0
	for i := len(c.calls) - 1; i >= 0 && now.Sub(c.calls[i]) < span; i-- {
		in++
	}
	if in > n {
		c.refused++
	}
	return in > n
}

// today is how many calls there were on the present day of a zone.
func (c *counting) today(zone *time.Location) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	day := time.Now().In(zone).Format(time.DateOnly)
	for _, at := range c.calls {
		if at.In(zone).Format(time.DateOnly) == day {
			n++
		}
	}
	return n
}

// shippedRun runs a shipped spec against a stub to its verdict, and reads back its
// rows by table.
func shippedRun(t *testing.T, name string, settings map[string]string, stub http.Handler, w fanout.Window) (rows map[string][]string, v run.Verdict) {
	t.Helper()
	src, err := vendors.Specs.ReadFile(name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	stage := fleettest.Of(t, src, settings)
	f := stage.Fleet(t, fleettest.Vendor{Handler: stub}, func(o *fleet.Options) { o.Poll, o.Idle = 500*time.Millisecond, 5*time.Second })
	r, err := f.Runs.Seed(t.Context(), w, false)
	if err != nil {
		t.Fatal(err)
	}
	workers, err := f.Workers(fleettest.Secrets{}, r.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	if v, err = workers.Run(t.Context(), context.WithoutCancel(t.Context()), r.ID); err != nil {
		t.Fatal(err)
	}
	if err := workers.Close(); err != nil {
		t.Error(err)
	}
	rows = map[string][]string{}
	for _, tier := range f.Plan.Tiers {
		if len(tier.Tables) == 0 {
			continue
		}
		_, err := f.Runs.ReadBack(t.Context(), r.ID, tier.Name, func(rec *fanout.Record) error {
			for row, err := range f.Plan.Rows(t.Context(), rec.Task, rec.Cursor, rec.Body) {
				if err != nil {
					return err
				}
				table := f.Plan.TablesOf(rec.Task)[0]
				rows[table] = append(rows[table], string(row))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range rows {
		slices.Sort(r)
	}
	return rows, v
}

// exactly compares rows with the truth.
func exactly(t *testing.T, table string, got, want []string) {
	t.Helper()
	slices.Sort(want)
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("%s: %d rows, not %d", table, len(got), len(want))
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("row %d is\n%s, want\n%s", i, slices.Concat(got, make([]string, i+1))[i], slices.Concat(want, make([]string, i+1))[i])
			return
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// App Annie, by https://support.appannie.com/hc/en-us/categories/200261564-Analytics-API-v1-2-
// (Account Connections List, Account Connection Product List) and
// https://support.appannie.com/hc/en-us/articles/204208914-3-Product-Sales- :
// 30 calls a minute, 1,000 a day.
type appAnnie struct {
	counting
	zone     *time.Location
	accounts int
	products int // of each account
}

func (a *appAnnie) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+fleettest.Token {
		writeJSON(w, 401, map[string]any{"code": 401, "error": "Invalid token."})
		return
	}
	if a.over(30, time.Minute) || a.today(a.zone) > 1000 {
		writeJSON(w, 429, map[string]any{"code": 429, "error": "Exceeded rate limit."})
		return
	}
	q := r.URL.Query()
	list := func(field string, n int, item func(i int) map[string]any) {
		const size = 3
		page, err := strconv.Atoi(q.Get("page_index"))
		if err != nil {
			page = 0
		}
		var items []any
		for i := page * size; i < min(n, (page+1)*size); i++ {
			items = append(items, item(i))
		}
		var next any
		if (page+1)*size < n {
			next = fmt.Sprintf("%s?page_index=%d", r.URL.Path, page+1)
		}
		writeJSON(w, 200, map[string]any{"code": 200, field: items, "page_index": page, "page_num": (n + size - 1) / size, "prev_page": nil, "next_page": next})
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // v1.2 accounts A products P sales
	switch {
	case len(parts) == 2:
		list("accounts", a.accounts, func(i int) map[string]any {
			return map[string]any{"account_id": 100 + i, "account_name": "n", "vertical": "apps", "market": []string{"ios", "google-play"}[i%2]}
		})
	case len(parts) == 4:
		list("products", a.products, func(i int) map[string]any {
			return map[string]any{"product_id": json.Number(parts[2] + strconv.Itoa(1000000000+i)), "product_name": fmt.Sprintf("Ünï %d", i), "status": true}
		})
	case len(parts) == 6 && q.Get("break_down") == "date country" && q.Get("start_date") == "2026-03-08" && q.Get("end_date") == "2026-03-08":
		list("sales_list", 4, func(i int) map[string]any {
			return map[string]any{"date": "2026-03-08", "country": []string{"US", "DE", "JP", "ZZ"}[i], "units": map[string]any{"product": map[string]any{"downloads": i}}, "revenue": map[string]any{"product": map[string]any{"downloads": "0.70"}}}
		})
	case len(parts) == 6 && parts[1] == "apps" && q.Get("interval") == "daily":
		writeJSON(w, 200, map[string]any{"code": 200, "market": parts[2], "product_ranks": []any{
			map[string]any{"country": "US", "category": "Overall", "feed": "free", "device": "iphone", "ranks": map[string]any{"2026-03-08": 7}},
			map[string]any{"country": "US", "category": "Games", "feed": "free", "device": "ipad", "ranks": map[string]any{}},
		}})
	default:
		writeJSON(w, 400, map[string]any{"code": 400, "error": "Bad request " + r.URL.String()})
	}
}

// The quota of 1,000 calls a day is used up; the run goes on after midnight in
// Los Angeles, on a night in which the clocks change.
func TestAppAnnie(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		// 2026-03-08 has 23 hours there.
		time.Sleep(time.Until(time.Date(2026, 3, 7, 23, 20, 0, 0, zone)))
		a := &appAnnie{zone: zone, accounts: 4, products: 7}
		if everyCase {
			a.products = 80
		}
		w := fanout.Window{From: time.Date(2026, 3, 8, 0, 0, 0, 0, zone).UTC(), To: time.Date(2026, 3, 9, 0, 0, 0, 0, zone).UTC()}
		began := time.Now()
		rows, v := shippedRun(t, "appannie", nil, a, w)
		var sales, ranks []string
		for i := range a.accounts {
			market := []string{"ios", "google-play"}[i%2]
			for p := range a.products {
				id, name := fmt.Sprintf("%d%d", 100+i, 1000000000+p), fmt.Sprintf("Ünï %d", p)
				for n, c := range []string{"US", "DE", "JP", "ZZ"} {
					sales = append(sales, fmt.Sprintf(`{"account":"%d","country":%q,"date":"2026-03-08","market":%q,"product":%q,"product_id":%q,"revenue":{"product":{"downloads":"0.70"}},"units":{"product":{"downloads":%d}}}`, 100+i, c, market, name, id, n))
				}
				ranks = append(ranks, fmt.Sprintf(`{"account":"%d","category":"Overall","country":"US","date":"2026-03-08","device":"iphone","feed":"free","market":%q,"product":%q,"product_id":%q,"rank":7}`, 100+i, market, name, id))
			}
		}
		exactly(t, "sales", rows["sales"], sales)
		exactly(t, "ranks", rows["ranks"], ranks)
		days := map[string]int{}
		for _, at := range a.calls {
			days[at.In(zone).Format(time.DateOnly)]++
		}
		t.Logf("%d calls in %v, by day %v, %d refused, complete %t", len(a.calls), time.Since(began).Round(time.Minute), days, a.refused, v.Complete())
		if a.refused > 0 || !v.Complete() {
			t.Errorf("%d calls refused, verdict %+v", a.refused, v)
		}
		for day, n := range days {
			if n > 1000 {
				t.Errorf("%d calls on %s", n, day)
			}
		}
		if n := days["2026-03-07"]; everyCase && n < 985 {
			t.Errorf("of the first day's quota %d were used", n)
		}
	})
}

// LogicMonitor, by https://www.logicmonitor.com/support/rest-api-developers-guide/overview/rest-api-rate-limit
// (each method of each endpoint, all users together), https://www.logicmonitor.com/support/rest-api-authentication
// (LMv1) and the guide's pages on devices, device groups and getting data.
type logicMonitor struct {
	t         *testing.T
	endpoints map[string]*counting
	mu        sync.Mutex
	limit     int
	lmv1      bool
	devices   int
}

func (l *logicMonitor) allowed(r *http.Request) bool {
	got := r.Header.Get("Authorization")
	if !l.lmv1 {
		return got == "Bearer "+fleettest.Token
	}
	parts := strings.Split(strings.TrimPrefix(got, "LMv1 "), ":")
	if len(parts) != 3 {
		return false
	}
	ms, err := strconv.ParseInt(parts[2], 10, 64)
	m := hmac.New(sha256.New, []byte(fleettest.Token))
	m.Write([]byte(r.Method + parts[2] + strings.TrimPrefix(r.URL.Path, "/santaba/rest")))
	return err == nil && time.Since(time.UnixMilli(ms)).Abs() < time.Minute && parts[0] == fleettest.Token &&
		parts[1] == base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(m.Sum(nil))))
}

func (l *logicMonitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.allowed(r) || r.Header.Get("X-Version") != "3" {
		writeJSON(w, 401, map[string]any{"errorMessage": "Authentication failed", "errorCode": 1401})
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/santaba/rest/device/"), "/")
	l.mu.Lock()
	endpoint := strings.Join(slices.DeleteFunc(slices.Clone(parts), func(s string) bool { _, err := strconv.Atoi(s); return err == nil }), "/")
	if l.endpoints[endpoint] == nil {
		l.endpoints[endpoint] = &counting{}
	}
	c := l.endpoints[endpoint]
	l.mu.Unlock()
	over := c.over(l.limit, time.Minute)
	w.Header().Set("X-Rate-Limit-Limit", strconv.Itoa(l.limit))
	w.Header().Set("X-Rate-Limit-Remaining", strconv.Itoa(max(0, l.limit-l.recent(c))))
	w.Header().Set("X-Rate-Limit-Window", "60")
	if over {
		writeJSON(w, 429, map[string]any{"errorMessage": "Too many requests", "errorCode": 1429})
		return
	}
	q := r.URL.Query()
	list := func(n int, exact bool, item func(i int) map[string]any) {
		offset, _ := strconv.Atoi(q.Get("offset"))
		size, _ := strconv.Atoi(q.Get("size"))
		var items []any
		for i := offset; i < min(n, offset+min(size, 40)); i++ { // a cap that is told to nobody
			items = append(items, item(i))
		}
		total := n
		if !exact && offset+len(items) < n {
			total = -offset - len(items)
		}
		writeJSON(w, 200, map[string]any{"total": total, "items": items, "searchId": nil})
	}
	switch {
	case len(parts) == 1:
		list(3, true, func(i int) map[string]any { return map[string]any{"id": i + 1, "fullPath": "g"} })
	case len(parts) == 3 && parts[2] == "devices": // every device is in two of the groups
		list(l.devices, false, func(i int) map[string]any {
			return map[string]any{"id": 9007199254740993 + i, "displayName": fmt.Sprintf("host/%d", i)}
		})
	case len(parts) == 3:
		list(3, true, func(i int) map[string]any {
			return map[string]any{"id": 70 + i, "dataSourceName": fmt.Sprintf("DS%d", i), "instanceNumber": []int{1, 0, 2}[i]}
		})
	case len(parts) == 5 && parts[4] == "data":
		l.data(w, q.Get("start"), q.Get("end"))
	default:
		writeJSON(w, 404, map[string]any{"errorMessage": "no such resource", "errorCode": 1404})
	}
}

// recent is how many calls the endpoint's window holds.
func (l *logicMonitor) recent(c *counting) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.calls {
		if time.Since(at) < time.Minute {
			n++
		}
	}
	return n
}

// data is 3 rows of a day, 2 in an answer: the rest is what nextPageParams asks for.
func (l *logicMonitor) data(w http.ResponseWriter, start, end string) {
	from, _ := strconv.ParseInt(start, 10, 64)
	to, _ := strconv.ParseInt(end, 10, 64)
	all := []int64{1767225600, 1767254400, 1767311999}
	times, values := []int64{}, [][]any{}
	next := ""
	for i, at := range all {
		if at < from || at > to {
			continue
		}
		if len(times) == 2 {
			next = fmt.Sprintf("start=%d&end=%d", at, to)
			break
		}
		times, values = append(times, at), append(values, []any{json.Number("1.50"), "No Data", i})
	}
	writeJSON(w, 200, map[string]any{"dataSourceName": "x", "dataPoints": []string{"cpu", "mem", "n"}, "nextPageParams": next,
		"instances": map[string]any{"I-1": map[string]any{"time": times, "values": values}, "I-2": map[string]any{"time": []any{}, "values": []any{}}}})
}

func TestLogicMonitor(t *testing.T) {
	t.Parallel()
	for auth, limit := range map[string]int{"bearer": 500, "lmv1": 100} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &logicMonitor{t: t, endpoints: map[string]*counting{}, limit: limit, lmv1: auth == "lmv1", devices: 90}
				w := fanout.Window{From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
				rows, v := shippedRun(t, "logicmonitor", map[string]string{"account": "acme", "auth": auth}, l, w)
				var want []string
				for d := range l.devices {
					for _, s := range []int{0, 2} {
						for i, at := range []int64{1767225600, 1767254400, 1767311999} {
							want = append(want, fmt.Sprintf(`{"device":"host/%d","device_id":"%d","instance":"I-1","source":"DS%d","source_id":"%d","time":%d,"values":{"cpu":1.50,"mem":"No Data","n":%d}}`,
								d, 9007199254740993+d, s, 70+s, at, i))
						}
					}
				}
				exactly(t, "metrics", rows["metrics"], want)
				refused := map[string]int{}
				for name, c := range l.endpoints {
					refused[name] = c.refused
				}
				t.Logf("refused %v", refused)
				if !v.Complete() {
					t.Errorf("verdict %+v", v)
				}
				// A portal that has lowered its limits says so in its first answer: calls
				// that were under way by then may be refused, no others.
				for name, n := range refused {
					if most := map[bool]int{true: 0, false: 16}[limit == 500]; n > most {
						t.Errorf("%d calls of %s were refused", n, name)
					}
				}
			})
		})
	}
}

// GitHub, by https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api ,
// https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api and the
// references of organizations, repositories, issues and comments.
type gitHub struct {
	mu        sync.Mutex
	limit     int // of an hour that ends at reset
	used      int
	reset     time.Time
	times     []time.Time
	refused   int
	secondary int // how many calls more are refused by a secondary limit
}

func (g *gitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+fleettest.Token || r.Header.Get("User-Agent") == "" {
		writeJSON(w, 401, map[string]any{"message": "Bad credentials"})
		return
	}
	now := time.Now()
	if !now.Before(g.reset) {
		g.used, g.reset = 0, now.Truncate(time.Second).Add(time.Hour)
	}
	g.times = append(g.times, now)
	if len(g.times) == 20 && g.secondary > 0 {
		g.secondary--
		g.times = g.times[:19]
		w.Header().Set("Retry-After", "60")
		writeJSON(w, 403, map[string]any{"message": "You have exceeded a secondary rate limit."})
		return
	}
	if g.used++; g.used > g.limit {
		g.used = g.limit
		g.refused++
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(g.reset.Unix(), 10))
		writeJSON(w, 403, map[string]any{"message": "API rate limit exceeded for user ID 1."})
		return
	}
	w.Header().Set("X-RateLimit-Limit", "5000")
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(g.limit-g.used))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(g.reset.Unix(), 10))
	g.answer(w, r)
}

func (g *gitHub) answer(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	list := func(n int, item func(i int) map[string]any) {
		page, _ := strconv.Atoi(q.Get("page"))
		page = max(page, 1)
		items := []any{}
		for i := (page - 1) * 100; i < min(n, page*100); i++ {
			items = append(items, item(i))
		}
		if page*100 < n {
			q.Set("page", strconv.Itoa(page+1))
			w.Header().Set("Link", fmt.Sprintf(`<https://api.github.com%s?%s>; rel="next", <https://api.github.com/x>; rel="last"`, r.URL.EscapedPath(), q.Encode()))
		}
		writeJSON(w, 200, items)
	}
	user := map[string]any{"login": "octo"}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/user/orgs":
		list(2, func(i int) map[string]any { return map[string]any{"login": []string{"acme", "acme-labs"}[i]} })
	case parts[0] == "orgs": // both see the same repositories
		list(130, func(i int) map[string]any {
			return map[string]any{"id": i, "name": fmt.Sprintf("re.po-%d", i), "owner": map[string]any{"login": "acme"}}
		})
	case len(parts) == 4 && parts[2] == "re.po-7":
		writeJSON(w, 410, map[string]any{"message": "Issues are disabled for this repo"})
	case len(parts) == 4 && q.Get("since") == "2026-03-01T00:00:00Z":
		list(3, func(i int) map[string]any {
			is := map[string]any{"number": i + 1, "id": 9007199254740993 + i, "title": "t", "state": "open", "user": user, "labels": []any{map[string]any{"name": "bug"}}, "comments": i,
				"created_at": "2026-02-01T00:00:00Z", "updated_at": []string{"2026-03-01T05:00:00Z", "2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z"}[i], "closed_at": nil}
			if i == 1 {
				is["pull_request"] = map[string]any{"url": "u"}
			}
			return is
		})
	case len(parts) == 6 && parts[5] == "comments":
		list(1, func(i int) map[string]any {
			return map[string]any{"id": 5, "user": nil, "body": "héllo", "created_at": "2026-03-01T06:00:00Z", "updated_at": "2026-03-01T06:00:00Z"}
		})
	default:
		writeJSON(w, 404, map[string]any{"message": "Not Found"})
	}
}

// A token of which something else uses most of the hour: what is left is used, and
// no more; the rest waits for the reset. A secondary limit in between brakes.
func TestGitHub(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gitHub{limit: 300, secondary: 1, reset: time.Now().Add(5 * time.Minute)}
		day := fanout.Window{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
		began := time.Now()
		rows, v := shippedRun(t, "github", nil, g, day)
		var issues, comments []string
		for i := range 130 {
			if i == 7 {
				continue
			}
			for n := range 2 {
				issues = append(issues, fmt.Sprintf(`{"author":"octo","closed_at":null,"comments":%d,"created_at":"2026-02-01T00:00:00Z","id":%d,"labels":["bug"],"number":%d,"pull_request":%t,"repo":"acme/re.po-%d","state":"open","title":"t","updated_at":%q}`,
					n, 9007199254740993+n, n+1, n == 1, i, []string{"2026-03-01T05:00:00Z", "2026-03-01T23:59:59Z"}[n]))
			}
			for _, n := range []int{2, 3} {
				comments = append(comments, fmt.Sprintf(`{"author":null,"body":"héllo","created_at":"2026-03-01T06:00:00Z","id":5,"issue":"%d","repo":"acme/re.po-%d","updated_at":"2026-03-01T06:00:00Z"}`, n, i))
			}
		}
		exactly(t, "issues", rows["issues"], issues)
		exactly(t, "comments", rows["comments"], comments)
		t.Logf("%d calls in %v, %d refused; %v", len(g.times), time.Since(began).Round(time.Second), g.refused, slices.Sorted(maps.Keys(rows)))
		if !v.Complete() || g.refused > 0 {
			t.Errorf("%d calls were refused, verdict %+v", g.refused, v)
		}
	})
}
