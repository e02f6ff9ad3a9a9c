package lake_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// benched is the lake of a benchmark.
func (s *site) benched(tb testing.TB) *lake.Lake {
	s.t, s.books = tb, newBooks()
	return s.with(acme)
}

// landDay lands a run of about so many bytes of answers: objects as a worker
// makes them, the tasks' keys in no order.
func (s *site) landDay(tb testing.TB, size int) (rows, bytes int) {
	tb.Helper()
	return landDay(tb, landing.New(s.raw), s.books, size)
}

func landDay(tb testing.TB, land *landing.Landing, b *books, size int) (rows, bytes int) {
	tb.Helper()
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	r := run.Run{ID: "acme-1", Vendor: "acme", Tiers: []string{"devices", "data"}, Window: fanout.Window{From: from, To: from.AddDate(0, 0, 1)}, Opened: from, State: run.Closed}
	var batch fanout.LandingBatch
	commit := func() {
		if batch != nil {
			if err := batch.Commit(tb.Context()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for n := 0; bytes < size; n++ {
		if n%256 == 0 {
			commit()
			batch = land.Begin(r.ID, "data")
		}
		device := fmt.Sprintf("device-%07d", (n*7919)%1_000_003)
		task := fanout.Task{Run: r.ID, Window: r.Window}.Child("data", fanout.Node{Path: []string{device}})
		body := []byte(`{"rows":[`)
		const each = 100
		for i := range each {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, record(n*each+i)...)
		}
		body = append(body, "]}"...)
		bytes, rows = bytes+len(body), rows+each
		if err := batch.Add(fanout.Record{Kind: "page", Task: task, Fetch: "f" + strconv.Itoa(n), At: from, Status: 200, Rows: each, Body: body}); err != nil {
			tb.Fatal(err)
		}
		b.ends[r.ID] = append(b.ends[r.ID], fanout.Settlement{Task: task, Outcome: fanout.Done, Fetch: "f" + strconv.Itoa(n), Pages: 1, Rows: each})
	}
	commit()
	known := len(b.ends[r.ID])
	r.Verdict = &run.Verdict{Known: known, Done: known, Tiers: []run.TierSum{{Tier: "data", Known: known, Done: known}}}
	b.runs[r.ID] = r
	return rows, bytes
}

// record is a row of twelve fields.
func record(n int) string {
	h := uint64(n)*0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03
	h ^= h >> 29
	return fmt.Sprintf(`{"host":"host-%04d.example.com","metric":"cpu.%02d.usage","unit":"percent","time":%d,"value":%d.%02d,"min":%d.5,"max":%d.25,"avg":0.%06d,"count":%d,"seq":%d,"ok":%v,"at":"2026-11-01T%02d:%02d:%02dZ"}`,
		h%5000, h%16, 1767225600+n%86400, h%100, h%97, h%50, h%150, h%999983, h%60, n, h%7 != 0, n/3600%24, n/60%60, n%60)
}
