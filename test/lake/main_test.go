// Package lake_test reads the lake as its users do: it runs the built command, and
// then in DuckDB exactly the statements that the command prints.
package lake_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/sluicehq/sluice/test/servers"
)

// sluice is the command under test, built once.
var sluice string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-lake-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	sluice = filepath.Join(dir, "sluice")
	cmd := exec.Command("go", "build", "-o", sluice, "./cmd/sluice")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the command: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

const (
	day     = "2026-01-01"
	nextDay = "2026-01-02"
	dayAt   = 1767225600 // its first second
)

// A home is where the command keeps everything, and the environment it runs in.
type home struct {
	dir string
	env []string
}

func newHome(t *testing.T, env ...string) *home {
	t.Helper()
	dir := t.TempDir()
	return &home{dir, append(env, "SLUICE_HOME="+dir)}
}

// spec writes a spec into the home.
func (h *home) spec(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(h.dir, name+".yaml")
	servers.Write(t, path, text)
	return path
}

// shipped is a spec that ships, with its limits replaced.
func shipped(t *testing.T, name, old, limits string) string {
	t.Helper()
	src, err := os.ReadFile("../../vendors/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(src), old, limits, 1)
	if text == string(src) {
		t.Fatalf("the limits of %s are not where this test expects them", name)
	}
	return text
}

// run runs the command to its end; it must end with this code. It returns what it
// has put out, and what it has said.
func (h *home) run(t *testing.T, want int, args ...string) (out, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sluice, args...)
	cmd.Env = append(os.Environ(), h.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("sluice %s ended with %d, want %d:\n%s\n%s", strings.Join(args, " "), got, want, servers.Tail(stdout.Bytes()), servers.Tail(stderr.Bytes()))
	}
	return stdout.String(), stderr.String()
}

var runID = regexp.MustCompile(`Run ([a-z0-9]+-2026[0-9T]+-[0-9a-v]{6}) of`)

// idIn is the run of a verdict.
func idIn(t *testing.T, out string) string {
	t.Helper()
	m := runID.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no run in:\n%s", out)
	}
	return m[1]
}

// duck is a DuckDB in which the statements that the command prints have been run.
func (h *home) duck(t *testing.T, vendor string) *sql.DB {
	t.Helper()
	statements, said := h.run(t, 0, "lake", "sql", "duckdb", vendor)
	if said != "" {
		t.Errorf("beside the statements it says:\n%s", said)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatalf("%v in:\n%s", err, statements)
	}
	return db
}

// rows are the rows of a query as texts, sorted: values with " | " between them.
func rows(t *testing.T, db *sql.DB, query string, args ...any) (out []string) {
	t.Helper()
	found, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	defer found.Close()
	names, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for found.Next() {
		if err := found.Scan(into...); err != nil {
			t.Fatalf("%v: %s", err, query)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = text(v)
		}
		out = append(out, strings.Join(texts, " | "))
	}
	if err := found.Err(); err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	slices.Sort(out)
	return out
}

// text is a value as a text that tells its type.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return v
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0"
		}
		return s
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

// same compares rows; some that differ are shown.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(want)
	if slices.Equal(got, want) {
		return
	}
	count := map[string]int{}
	for _, r := range want {
		count[r]++
	}
	for _, r := range got {
		count[r]--
	}
	var differ []string
	for r, n := range count {
		if n > 0 {
			differ = append(differ, fmt.Sprintf("missing %d times: %s", n, clip(r)))
		} else if n < 0 {
			differ = append(differ, fmt.Sprintf("%d times too many: %s", -n, clip(r)))
		}
	}
	slices.Sort(differ)
	t.Errorf("%s: %d rows, want %d; %d differ, such as\n%s", what, len(got), len(want), len(differ), strings.Join(differ[:min(len(differ), 6)], "\n"))
}

func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "..."
	}
	return s
}

// types are a table's columns, as DuckDB describes them: name and type.
func types(t *testing.T, db *sql.DB, table string) []string {
	t.Helper()
	return rows(t, db, "SELECT column_name, column_type FROM (DESCRIBE "+table+")")
}

func sorted(rows []string) []string {
	slices.Sort(rows)
	return rows
}
