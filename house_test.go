package sluice_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sluicehq/sluice/"

// TestHouse holds the house's layout: imports point one way, and what runs on
// small machines stays light.
func TestHouse(t *testing.T) {
	deps := dependencies(t)
	for _, rule := range []struct {
		why    string
		who    string
		allows []string // packages of ours that it may reach; nil: any but those forbidden
		never  []string // prefixes of packages that it must not reach
	}{
		{"the engine uses the standard library only", "internal/fanout", []string{}, []string{"."}},
		{"the governor knows the engine's ports and nothing else", "internal/governor", []string{"internal/fanout"}, []string{"modernc.org", "github.com", "net/http"}},
		{"the client knows no queue and no governor", "internal/vendorapi", []string{"internal/fanout"}, nil},
		{"a draft is made of samples", "internal/draft", []string{}, []string{"."}},
		{"a recording knows the client only", "internal/recording", []string{"internal/fanout", "internal/vendorapi"}, nil},
		{"a report is made of what is handed in", "internal/report", []string{"internal/fanout", "internal/forecast", "internal/governor", "internal/landing", "internal/price", "internal/run", "internal/series"}, []string{"modernc.org", "github.com/spf13", "github.com/aws"}},
		{"a forecast is arithmetic", "internal/forecast", []string{"internal/price"}, []string{"."}},
		{"a series is figures over time", "internal/series", []string{"internal/fanout"}, []string{"."}},
		{"columns are columns", "internal/columns", []string{}, []string{"modernc.org", "github.com/aws", "github.com/spf13"}},
		{"the landing is what every worker carries", "internal/landing", []string{"internal/fanout"}, []string{"modernc.org", "github.com/spf13", "net/http"}},
		{"a run knows no backend and no vendor client", "internal/run", []string{"internal/fanout", "internal/landing"}, []string{"modernc.org", "database/sql"}},
		{"a backend imports the ports that it implements", "internal/localfleet", []string{"internal/fanout", "internal/governor", "internal/landing", "internal/run", "internal/series"}, []string{"github.com/spf13"}},
		{"the wiring knows no backend and no command line", "internal/fleet", []string{"internal/fanout", "internal/forecast", "internal/governor", "internal/landing", "internal/price", "internal/run", "internal/series", "internal/vendorapi"}, []string{"modernc.org", "github.com/spf13", "github.com/vbauerster"}},
		{"a backend imports the ports that it implements", "internal/awsfleet", []string{"internal/fanout", "internal/governor", "internal/landing", "internal/run", "internal/series"}, []string{"github.com/spf13", "modernc.org"}},
		{"functions are light: no SQLite, no command line", "internal/functions", nil, []string{"modernc.org", "database/sql", "github.com/spf13", "github.com/vbauerster"}},
		{"the drain's program is light", "workers/tier", nil, []string{"modernc.org", "database/sql", "github.com/spf13"}},
		{"the closer's program is light", "workers/close", nil, []string{"modernc.org", "database/sql", "github.com/spf13"}},
		{"the lake's function carries Parquet, no SQLite and no command line", "internal/lakeworker", nil, []string{"modernc.org", "github.com/spf13", "github.com/vbauerster", "gonum.org"}},
		{"the lake's program is light but for Parquet", "workers/lake", nil, []string{"modernc.org", "github.com/spf13", "github.com/vbauerster", "gonum.org"}},
		{"prices are figures and nothing else", "internal/price", []string{}, []string{"."}},
		{"statements are made of names", "internal/lakesql", []string{}, []string{"."}},
		{"the simulated vendor knows nothing of Sluice", "internal/vendorsim", []string{}, nil},
	} {
		reached, ok := deps[module+rule.who]
		if !ok {
			t.Errorf("%s: there is no package %s", rule.why, rule.who)
		}
		for _, dep := range reached {
			if ours, isOurs := strings.CutPrefix(dep, module); isOurs {
				if rule.allows != nil && !slices.Contains(rule.allows, ours) {
					t.Errorf("%s: %s reaches %s", rule.why, rule.who, ours)
				}
				continue
			}
			for _, p := range rule.never {
				// A standard package has no dot in its first element.
				if first, _, _ := strings.Cut(dep, "/"); p == "." && strings.Contains(first, ".") || p != "." && strings.HasPrefix(dep, p) {
					t.Errorf("%s: %s reaches %s", rule.why, rule.who, dep)
				}
			}
		}
	}
	for _, pkg := range []string{"internal/awsfleet", "internal/fleet", "internal/functions", "workers/tier", "workers/close"} {
		for _, dep := range deps[module+pkg] {
			if tables(dep) {
				t.Errorf("tables are made by the lake's function and the command: %s reaches %s", pkg, dep)
			}
		}
	}
	for pkg, reached := range deps {
		for _, dep := range reached {
			draws := []string{"internal/report", "internal/cli", "cmd/seed", "cmd/sluice"}
			if strings.HasPrefix(dep, "gonum.org") && strings.HasPrefix(pkg, module) && !slices.Contains(draws, strings.TrimPrefix(pkg, module)) {
				t.Errorf("reports are drawn by the command only: %s reaches %s", pkg, dep)
			}
			if strings.HasPrefix(dep, module+"cmd/") || strings.HasPrefix(dep, module+"workers/") || strings.HasPrefix(dep, module+"test") {
				t.Errorf("nobody imports mains or tests: %s reaches %s", pkg, dep)
			}
			if strings.HasSuffix(dep, "test") && strings.HasPrefix(dep, module) && !strings.HasSuffix(pkg, "test") && !strings.HasPrefix(pkg, module+"test/") {
				t.Errorf("models and suites stay in tests: %s reaches %s", pkg, dep)
			}
		}
	}
}

// tables tells whether a package is there to make tables.
func tables(pkg string) bool {
	ours := strings.TrimPrefix(pkg, module)
	return slices.Contains([]string{"internal/lake", "internal/columns", "internal/lakeworker"}, ours) || strings.HasPrefix(pkg, "github.com/parquet-go")
}

// TestScheduledSeeder: the seeder as Lambda gets it is as light as the other
// functions; by hand it is the operator's command, with both backends.
func TestScheduledSeeder(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-tags", "lambda.norpc", "./cmd/seed").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, heavy := range []string{"modernc.org", "database/sql", "github.com/spf13", "gonum.org", module + "internal/cli", module + "internal/localfleet"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("the scheduled seeder reaches %s", dep)
			}
		}
		if tables(strings.TrimSpace(dep)) {
			t.Errorf("the scheduled seeder reaches %s", dep)
		}
	}
}

// TestOneUserOfAWS: only the backend on AWS talks to it.
func TestOneUserOfAWS(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.Contains(imports, "aws-sdk-go-v2") && !strings.HasPrefix(pkg, module+"internal/awsfleet") {
			t.Errorf("%s imports the AWS SDK", pkg)
		}
	}
}

// dependencies lists, for each package of ours, all that it reaches.
func dependencies(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := map[string][]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Deps       []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		deps[p.ImportPath] = p.Deps
	}
	return deps
}

// TestNastyVendors: every test that docs/nasty-vendors.md names is there.
func TestNastyVendors(t *testing.T) {
	doc, err := os.ReadFile("docs/nasty-vendors.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, pattern := range []string{"internal/*/*_test.go", "test/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(src)
		}
	}
	named := 0
	for line := range strings.Lines(string(doc)) {
		for i, part := range strings.Split(line, "`") {
			if i%2 == 1 && (strings.HasPrefix(part, "Test") || strings.HasPrefix(part, "Fuzz")) {
				named++
				if !strings.Contains(tests.String(), "func "+part+"(") {
					t.Errorf("docs/nasty-vendors.md names %s, and there is no such test", part)
				}
			}
		}
	}
	if named < 40 {
		t.Errorf("docs/nasty-vendors.md names %d tests", named)
	}
}
