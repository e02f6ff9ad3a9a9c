package lake_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/test/servers"
)

// TestPrometheus: each sample of a real Prometheus is in the table once, as the
// double that Prometheus keeps, NaN and the infinities too.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	port, truth, _ := servers.StartPrometheus(t)
	h := newHome(t, "SLUICE_SECRET_PROMETHEUS_USER="+servers.PrometheusUser, "SLUICE_SECRET_PROMETHEUS_PASSWORD="+servers.PrometheusPassword)
	spec := h.spec(t, "prometheus", shipped(t, "prometheus", "bucket: 50/s, burst: 5, in_flight: 8", "bucket: 500/s, burst: 50"))
	out, _ := h.run(t, 0, "run", spec, "--set", "base=http://127.0.0.1:"+port, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T06:00:00Z", "--no-progress")
	id := idIn(t, out)
	db := h.duck(t, "prometheus")
	var want []string
	infinite := 0
	for s, n := range truth {
		value, err := strconv.ParseFloat(s.Value, 64)
		if err != nil {
			t.Fatal(err)
		}
		if math.IsNaN(value) || math.IsInf(value, 0) {
			infinite++
		}
		for range n {
			want = append(want, fmt.Sprint(s.Metric, " | ", s.Labels, " | ", s.Time*1e6, " | ", text(value)))
		}
	}
	got := rows(t, db, `SELECT metric, labels::VARCHAR, epoch_us("time"), value FROM prometheus.metrics`)
	for i, row := range got {
		got[i] = sortedLabels(t, row)
	}
	same(t, "samples", sorted(got), want)
	if n := rows(t, db, "SELECT count(*) FROM prometheus.metrics WHERE isnan(value) OR isinf(value)"); infinite == 0 || n[0] != fmt.Sprint(infinite) {
		t.Errorf("%s values are NaN or infinite, want %d", n, infinite)
	}
	same(t, "types", rows(t, db, "SELECT column_name, column_type FROM (DESCRIBE prometheus.metrics) WHERE NOT starts_with(column_name, '_')"), []string{
		"date | DATE", "labels | JSON", "metric | VARCHAR", "run | VARCHAR", "time | TIMESTAMP WITH TIME ZONE", "value | DOUBLE",
	})
	same(t, "labels are JSON", rows(t, db, "SELECT count(*) FROM prometheus.metrics WHERE labels->>'job' <> _jobs"), []string{"0"})
	same(t, "run", rows(t, db, "SELECT DISTINCT _run, _source, count(_variant) FROM prometheus.metrics GROUP BY ALL"), []string{id + " | prometheus | 0"})
}

// sortedLabels puts the labels of a sample in the order of their names.
func sortedLabels(t *testing.T, row string) string {
	t.Helper()
	parts := strings.Split(row, " | ")
	var labels map[string]string
	if err := json.Unmarshal([]byte(parts[1]), &labels); err != nil {
		t.Fatalf("%v: %s", err, row)
	}
	text, _ := json.Marshal(labels) // of strings: it cannot fail
	parts[1] = string(text)
	return strings.Join(parts, " | ")
}

// TestIcinga2: each row of a real Icinga 2 is in the table once.
func TestIcinga2(t *testing.T) {
	t.Parallel()
	ic := servers.StartIcinga(t)
	h := newHome(t, "SLUICE_SECRET_ICINGA2_USER=scraper", "SLUICE_SECRET_ICINGA2_PASSWORD="+servers.IcingaPassword)
	spec := h.spec(t, "icinga2", shipped(t, "icinga2", "bucket: 20/s, burst: 5, in_flight: 8", "bucket: 500/s, burst: 50"))
	h.run(t, 0, "run", spec, "--no-progress", "--from", day, "--to", nextDay, "--set", "base="+ic.Base, "--set", "ca="+ic.CA)
	db := h.duck(t, "icinga2")
	// The form of the truth: a number is in its shortest form.
	got := rows(t, db, `SELECT concat_ws(' ', host, service, epoch("time")::BIGINT, state::BIGINT, coalesce(label, '<nil>'),
		coalesce(CASE WHEN value = floor(value) AND abs(value) < 9e15 THEN value::BIGINT::VARCHAR ELSE value::VARCHAR END, json_extract_string(_variant, '$.value'), '<nil>'),
		coalesce(unit, '<nil>'), perfdata) FROM icinga2.perfdata`)
	same(t, "rows", got, ic.Truth)
	same(t, "types", rows(t, db, "SELECT column_name, column_type FROM (DESCRIBE icinga2.perfdata) WHERE NOT starts_with(column_name, '_')"), []string{
		"date | DATE", "host | VARCHAR", "label | VARCHAR", "perfdata | VARCHAR", "run | VARCHAR", "service | VARCHAR",
		"state | DOUBLE", "time | TIMESTAMP WITH TIME ZONE", "unit | VARCHAR", "value | DOUBLE",
	})
	same(t, "hosts", rows(t, db, "SELECT count(*) FROM icinga2.perfdata WHERE _hosts <> host OR _services <> host || '!' || service"), []string{"0"})
}
