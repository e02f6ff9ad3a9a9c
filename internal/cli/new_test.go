package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/cli"
)

// From samples of the simulated vendor a spec is drafted that walks it.
func TestNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	groups := file("groups.json", `{"items":[{"id":"g1","name":"one"},{"id":"g2","name":"two"}],"total":2}`)
	devices := file("devices.json", `{"items":[{"id":9007199254740993},{"id":9007199254740995}]}`)
	out := filepath.Join(dir, "vendors", "acme.yaml") // the directory is made
	args := []string{"vendor", "new", "acme", "--out", out, "--sample", "groups=" + groups, "--url", "groups=https://h.example/v1/groups?offset=0&size=1000",
		"--sample", "devices=" + devices, "--url", "devices=https://h.example/v1/groups/g2/devices?offset=0&size=1000"}
	alone := func(args ...string) result { return execute(t, cli.Process{Args: args}) }
	alone(args...).want(t, 0, out+" is written", "sluice vendor check "+out)
	alone(args...).want(t, 2, "is there already").line(t)
	alone("vendor", "check", out).want(t, 0, "Vendor acme is fine", "GET /groups/{groups}/devices", "Warnings:", "limits are unknown")
	alone("vendor", "check", out, "--strict").want(t, 1, "limits are unknown")

	// With its limits and credentials said, it walks the vendor itself.
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	spec := strings.NewReplacer("limits: unknown", "limits: [{name: calls, bucket: 1000/s, burst: 50}]", "https://h.example", w.sim.URL, `# auth: {bearer:`, `auth: {bearer:`).Replace(string(text))
	own := file("own.yaml", spec)
	r := w.sluice("vendor", "check", own, "--sample", "groups="+groups, "--strict")
	r.want(t, 0, "secret token is missing") // said, and no fault of the spec
	with := func(args ...string) result {
		return execute(t, cli.Process{Args: append(args, "--home", w.home), Getenv: func(name string) string {
			return map[string]string{"SLUICE_SECRET_ACME_TOKEN": token}[name]
		}})
	}
	r = with("vendor", "check", own, "--sample", "groups="+groups, "--sample", "devices="+devices, "--strict").want(t, 0, "Vendor acme is fine")
	if strings.Contains(r.out, "Warnings") {
		t.Error(r.out)
	}
	with("run", own, "--from", theDay, "--to", nextDay).want(t, 0, "complete", "groups", "devices")
	same := file("same.json", `{"items":[{"id":"x"},{"id":"x"}]}`)
	with("vendor", "check", own, "--sample", "groups="+same, "--strict").want(t, 1, "tier groups: the key is never unique")
	with("vendor", "check", own, "--sample", "groups="+same).want(t, 0, "the key is never unique")
	with("vendor", "check", own, "--sample", "groups").want(t, 2, "has no tier").line(t)
	with("vendor", "check", own, "--sample", "nosuch="+same).want(t, 2, `no tier "nosuch"`).line(t)
	with("vendor", "check", own, "--sample", "groups="+dir+"/none").want(t, 2, "none: no such file").line(t)

	alone("vendor", "new", "acme", "--out", "-", "--sample", "groups="+groups).want(t, 0, "name: acme", "total")
	alone("vendor", "new", "acme", "--out", "-", "--sample", "groups="+groups, "--url", "groups=https://h.example/list?offset=0&kind=a", "--form", "groups").want(t, 0, "post: '/list'", "form: {'kind': 'a'}", "in: form")
	alone("vendor", "new", "acme", "--out", "-", "--sample", "groups="+groups, "--post", "grups").want(t, 2, "--post grups: there is no --sample of that tier").line(t)
	alone("vendor", "new", "acme").want(t, 2, "--sample TIER=FILE.json").line(t)
	alone("vendor", "new", "Acme", "--out", "-", "--sample", "groups="+groups).want(t, 2, "name must be like")
	alone("vendor", "new", "acme", "--out", "-", "--sample", "groups="+groups, "--url", "devices=http://x/").want(t, 2, "there is no --sample of that tier").line(t)
	alone("vendor", "new", "acme", "--out", "-", "--sample", "groups="+file("bad.json", "{")).want(t, 2, "is no JSON").line(t)
}
