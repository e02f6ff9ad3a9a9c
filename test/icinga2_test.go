package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/servers"
)

// TestIcinga2 walks a real Icinga 2 over TLS with its own CA: what lands is
// exactly what was put in, each row once, and whoever may see less is no success.
func TestIcinga2(t *testing.T) {
	ic := servers.StartIcinga(t)
	home := t.TempDir()
	src, err := os.ReadFile("../vendors/icinga2.yaml")
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Replace(string(src), "bucket: 20/s, burst: 5", "bucket: 500/s, burst: 50", 1)
	if own == string(src) {
		t.Fatal("the spec's limit is not where this test expects it")
	}
	spec := filepath.Join(home, "icinga2.yaml")
	servers.Write(t, spec, own)
	set := []string{"--set", "base=" + ic.Base, "--set", "ca=" + ic.CA}
	as := func(user, password string) []string {
		return []string{"SLUICE_SECRET_ICINGA2_USER=" + user, "SLUICE_SECRET_ICINGA2_PASSWORD=" + password, "SLUICE_HOME=" + home}
	}
	wrong := filepath.Join(home, "wrong.yaml")
	servers.Write(t, wrong, strings.Replace(own, "group in host.groups", "group in nosuch.groups", 1))
	for _, c := range []struct{ spec, user, password, want string }{
		{spec, "scraper", "wrong", "refused"},
		{spec, "some", servers.IcingaPassword, "proof of life"},
		{spec, "ungrouped", servers.IcingaPassword, "proof of life"},
		{wrong, "scraper", servers.IcingaPassword, "undefined script variable 'nosuch'"},
	} {
		p := servers.Start(t, as(c.user, c.password), sluice, append([]string{"vendor", "preview", c.spec}, set...)...)
		if code := p.Finish(t, time.Minute); code != 2 || !strings.Contains(p.Out.String(), c.want) {
			t.Errorf("preview as %s ended with %d, want 2 and %q:\n%s", c.user, code, c.want, servers.Tail([]byte(p.Out.String())))
		}
	}
	env := as("scraper", servers.IcingaPassword)
	out := run(t, env, 0, append([]string{"run", spec, "--no-progress", "--from", "2026-01-01", "--to", "2026-01-02"}, set...)...)
	t.Log(out)
	var id string
	for _, word := range strings.Fields(out) {
		if strings.HasPrefix(word, "icinga2-2026") {
			id = strings.Trim(word, ".,:;")
		}
	}
	got := perfdataRows(t, run(t, env, 0, append([]string{"read", id, "data", "--spec", spec}, set...)...))
	slices.Sort(got)
	slices.Sort(ic.Truth)
	t.Logf("%d groups, %d memberships of hosts, %d rows", ic.Groups, ic.Lists, len(ic.Truth))
	for i := range max(len(got), len(ic.Truth)) {
		if i >= len(got) || i >= len(ic.Truth) || got[i] != ic.Truth[i] {
			t.Fatalf("%d rows, want %d; the first that differs is number %d:\n%q\n%q", len(got), len(ic.Truth), i, got[min(i, len(got)-1):][:1], ic.Truth[min(i, len(ic.Truth)-1):][:1])
		}
	}
	noSecretIn(t, home, servers.IcingaPassword)
}

// perfdataRows are rows of the table perfdata in the form of the truth.
func perfdataRows(t *testing.T, lines string) (got []string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var row struct {
			Host, Service, Perfdata string
			Label, Unit             any
			Time, State, Value      json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		value := string(row.Value)
		if value == "null" {
			value = "<nil>"
		}
		got = append(got, fmt.Sprint(row.Host, " ", row.Service, " ", string(row.Time), " ", string(row.State), " ", row.Label, " ", value, " ", row.Unit, " ", row.Perfdata))
	}
	return got
}

// noSecretIn makes sure that no file below a directory holds a secret.
func noSecretIn(t *testing.T, dir, secret string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), secret) {
			t.Errorf("%s holds the password", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
