package main

import (
	"debug/elf"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// write puts an environment file where vendors' specs are found by default.
func write(t *testing.T, src string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "env.yaml")
	if err := os.WriteFile(file, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// sim is an environment of that vendor, with some lines in its section.
func sim(lines string) string { return "vendors:\n  sim:\n    " + lines + "\n" }

// environmentMistakes are files and what is said of them. PWD stands for this
// directory.
var environmentMistakes = []struct{ name, src, want string }{
	{"empty", "", "vendors: the file is empty: give at least one vendor, as in infra/environment.yaml"},
	{"no vendor", "prefix: sluice\n", "vendors: there is none: add a section with a vendor's name"},
	{"not YAML", "vendors: [\n", "not YAML: "},
	{"two documents", sim("") + "---\na: b\n", "---: the file holds more than one YAML document"},
	{"unknown key", "prefx: a\n" + sim(""), "line 1: prefx: there is no such key: take it out, or write one of: account, alarms, prefix, region, shared_lake, tags, vendor_tag, vendors"},
	{"unknown key deep down", sim("seed: {crn: x}"), "line 3: vendors.sim.seed.crn: there is no such key: take it out, or write one of: cron, flexible_minutes, when_open, zone"},
	{"twice", sim("workers: 1\n    workers: 2"), "line 4: vendors.sim.workers: is given twice: keep one"},
	{"no number", sim("workers: many"), `line 3: vendors.sim.workers: "many" is no whole number`},
	{"no truth", sim("repair: yes please"), `line 3: vendors.sim.repair: "yes please" is no truth value (true or false)`},
	{"no value", sim("workers:"), "line 3: vendors.sim.workers: needs a value: one whole number; or leave the key out"},
	{"a text for a section", sim("seed: daily"), "line 3: vendors.sim.seed: needs keys and values, as in infra/environment.yaml"},
	{"an anchor", sim("settings: &a {base: x}"), "line 3: vendors.sim.settings: anchors and aliases are not read here"},
	{"prefix", "prefix: Sluice_1\n" + sim(""), `prefix: "Sluice_1" is no short lower-case name such as sluice`},
	{"account", "account: 12345\n" + sim(""), `account: "12345" is no account number of 12 digits`},
	{"region", "region: Frankfurt\n" + sim(""), `region: "Frankfurt" is no region such as eu-central-1`},
	{"mail", "alarms: {email: nobody}\n" + sim(""), `alarms.email: "nobody" is no mail address`},
	{"percent", "alarms: {error_percent: 0}\n" + sim(""), "alarms.error_percent: 0 is no percentage"},
	{"tag", "tags: {\"aws:x\": y}\n" + sim(""), `tags: "aws:x" is no tag`},
	{"no spec", "vendors: {acme: {}}\n", "vendors.acme.spec: there is no spec at ../vendors/acme.yaml: write its path, relative to this file"},
	{"another's spec", "vendors: {acme: {spec: PWD/../vendors/sim.yaml}}\n", "describes the vendor sim: call the section vendors.sim"},
	{"broken spec", "vendors: {broken: {spec: PWD/testdata/broken.yaml}}\n", "vendors.broken.spec: the spec has mistakes, see sluice vendor check: "},
	{"unknown setting", sim("settings: {bas: x}"), `vendors.sim.settings: vendor sim: unknown setting "bas"`},
	{"cron", sim("seed: {cron: daily}"), `vendors.sim.seed.cron: "daily" has 1 fields, not six: write minute, hour`},
	{"zone", sim("seed: {zone: Berlin}"), `vendors.sim.seed.zone: "Berlin" is no time zone`},
	{"when open", sim("seed: {when_open: wait}"), `vendors.sim.seed.when_open: "wait" is neither queue`},
	{"flexible", sim("seed: {flexible_minutes: 2000}"), "vendors.sim.seed.flexible_minutes: 2000 is out of range: write a number from 0 to 1440"},
	{"log days", sim("log_days: 31"), "vendors.sim.log_days: CloudWatch keeps no log for 31 days: write one of 1, 3, 5, 7, 14, 30, 60"},
	{"memory", sim("memory_mb: 64"), "vendors.sim.memory_mb: 64 is out of range: write a number from 128 to 10240"},
	{"receives", sim("max_receives: 5"), "vendors.sim.max_receives: 5 is out of range: write a number from 50 to 1000"},
	{"unknown tier", sim("workers_by_tier: {leaves: 2}"), "vendors.sim.workers_by_tier.leaves: there is no such tier; the spec has: groups, devices, datagroups, data"},
	{"unknown function", sim("memory_mb_by_function: {data: 256}"), "vendors.sim.memory_mb_by_function.data: there is no such function; there are: seed, close, tier-groups"},
	{"store", sim("secrets: {store: vault}"), `vendors.sim.secrets.store: "vault" is neither ssm nor secretsmanager`},
	{"unknown secret", sim("secrets: {names: {key: /a/b}}"), "vendors.sim.secrets.names.key: the spec uses no such secret; it uses: token"},
	{"ARN in ssm", sim("secrets: {names: {token: \"arn:aws:x\"}}"), `vendors.sim.secrets.names.token: "arn:aws:x" is no secret's name`},
	{"key", sim("secrets: {kms_key: alias/mine}"), `vendors.sim.secrets.kms_key: "alias/mine" is no ARN of a key`},
	{"too large", sim("settings: {base: \"https://" + strings.Repeat("x", 4000) + "\"}"), "vendors.sim.settings: a function's environment would take"},
	{"reserved", "vendors: {shared: {spec: PWD/testdata/shared.yaml}}\n", "vendors.shared: the stack sluice-shared is what vendors share"},
	{"long names", "prefix: sixteen-letters-\n" + sim(""), `prefix: "sixteen-letters-" is no short`},
	{"long bucket", "prefix: sixteen-letters\nvendors: {a-vendor-of-thirty-two-character: {spec: PWD/testdata/long.yaml}}\n", "prefix: the bucket sixteen-letters-a-vendor"},
	{"lake's memory", sim("lake: {memory_mb: 128}"), "vendors.sim.lake.memory_mb: 128 is out of range: write a number from 256 to 10240"},
	{"lake's memory elsewhere", sim("memory_mb_by_function: {lake: 256}"), "vendors.sim.memory_mb_by_function.lake: there is no such function; there are: seed, close, tier-groups"},
	{"one at once", sim("lake: {at_once: 1}"), "vendors.sim.lake.at_once: 1 is out of range: write a number from 2 to 500"},
	{"staged", sim("lake: {staged_days: 1}"), "vendors.sim.lake.staged_days: 1 is out of range"},
	{"tables", sim("lake: {tables_days: -1}"), "vendors.sim.lake.tables_days: -1 is out of range"},
	{"landing", sim("landing_days: -1"), "vendors.sim.landing_days: -1 is out of range"},
	{"first day", sim("lake: {first_day: yesterday}"), `vendors.sim.lake.first_day: "yesterday" is no day such as 2026-01-01`},
	{"lake's key", sim("lake: {kms_key: alias/mine}"), `vendors.sim.lake.kms_key: "alias/mine" is no ARN of a key`},
	{"pipe", sim("lake: {snowflake: {queue_arn: my-queue}}"), `vendors.sim.lake.snowflake.queue_arn: "my-queue" is no ARN of an SQS queue`},
	{"pipe elsewhere", "region: eu-west-1\n" + sim("lake: {snowflake: {queue_arn: \"arn:aws:sqs:us-east-1:123456789012:q\"}}"), "vendors.sim.lake.snowflake.queue_arn: the queue is in us-east-1 and the bucket in eu-west-1"},
	{"half a reader", sim("lake: {snowflake: {external_id: abc}}"), "vendors.sim.lake.snowflake: user_arn and external_id belong together"},
	{"reader", sim("lake: {snowflake: {external_id: abc, user_arn: me}}"), `vendors.sim.lake.snowflake.user_arn: "me" is no ARN of a user or a role`},
	{"external ID", sim("lake: {snowflake: {external_id: \"a b\", user_arn: \"arn:aws:iam::123456789012:user/x\"}}"), `vendors.sim.lake.snowflake.external_id: "a b" is no external ID`},
	{"readers of one lake", "shared_lake: true\nvendors:\n  sim: {lake: {snowflake: {external_id: abc, user_arn: \"arn:aws:iam::123456789012:user/x\"}}, settings: {base: \"https://x.example.com\"}}\n" +
		"  prometheus: {settings: {base: \"https://x.example.com\"}, lake: {snowflake: {external_id: xyz, user_arn: \"arn:aws:iam::123456789012:user/x\"}}}\n", "vendors.sim.lake.snowflake: it differs from that of prometheus"},
	{"lake's queue", "vendors: {a: {spec: PWD/testdata/lake.yaml}}\n", "vendors: a's lake and a.lake would share the queue sluice-a-lake: rename a vendor or a tier"},
	{"twins", "vendors: {a: {spec: PWD/testdata/a.yaml}, a-b: {spec: PWD/testdata/a-b.yaml}}\n", "vendors: a.b-c and a-b.c would share the queue sluice-a-b-c: rename a vendor or a tier"},
}

func TestEnvironmentMistakes(t *testing.T) {
	pwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range environmentMistakes {
		t.Run(c.name, func(t *testing.T) {
			file := write(t, strings.ReplaceAll(c.src, "PWD", pwd))
			_, err := loadEnvironment(file)
			if err == nil {
				t.Fatal("it is taken")
			}
			if said := err.Error(); !strings.HasPrefix(said, file+": ") || !strings.Contains(said, c.want) || strings.Contains(said, "\n") {
				t.Errorf("it says\n%s\nwant one line with\n%s", said, c.want)
			}
		})
	}
	if _, err := loadEnvironment("nowhere.yaml"); err == nil || !strings.Contains(err.Error(), "write one like infra/environment.yaml, or name another in SLUICE_ENVIRONMENT") {
		t.Errorf("no file: %v", err)
	}
}

// TestEveryKeyIsShown: environment.yaml has every key, with the default that
// it has in Go, and the README tells of each.
func TestEveryKeyIsShown(t *testing.T) {
	shown, err := loadEnvironment("environment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	bare, err := loadEnvironment(write(t, "vendors: {sim: {settings: {base: \"https://sim.example.com\"}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("environment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(src, &tree); err != nil {
		t.Fatal(err)
	}
	compare(t, "", reflect.ValueOf(shown).Elem(), reflect.ValueOf(bare).Elem(), tree, string(readme))
}

func compare(t *testing.T, at string, shown, bare reflect.Value, tree map[string]any, readme string) {
	for i := range shown.NumField() {
		field := shown.Type().Field(i)
		key := field.Tag.Get("key")
		if key == "" {
			continue
		}
		if _, ok := tree[key]; !ok {
			t.Errorf("environment.yaml does not show %s%s", at, key)
		}
		if !strings.Contains(readme, "`"+strings.TrimPrefix(at+key, "vendors.")+"`") && field.Type.Kind() != reflect.Struct && key != "vendors" {
			t.Errorf("README.md does not tell of `%s%s`", at, key)
		}
		below, _ := tree[key].(map[string]any)
		switch a, b := shown.Field(i), bare.Field(i); {
		case key == "vendors":
			sim, _ := below["sim"].(map[string]any)
			compare(t, "vendors.", a.MapIndex(reflect.ValueOf("sim")).Elem(), b.MapIndex(reflect.ValueOf("sim")).Elem(), sim, readme)
		case field.Type.Kind() == reflect.Struct:
			compare(t, at+key+".", a, b, below, readme)
		case field.Type.Kind() == reflect.Map && a.Len() == 0 && b.Len() == 0:
		case !reflect.DeepEqual(a.Interface(), b.Interface()):
			t.Errorf("environment.yaml shows %s%s as %v, its default is %v", at, key, a, b)
		}
	}
}

func TestCron(t *testing.T) {
	for _, c := range []struct {
		cron, window string
		hours        int
		at           int
		until        time.Duration
	}{
		{"0 2 * * ? *", "cron(* 2,3,4 * * ? *)", 3, 14, 12 * time.Hour},
		{"30 22 ? * MON-FRI *", "cron(* 0,1,22,23 * * ? *)", 4, 6, 7*time.Hour + 30*time.Minute},
		{"0 14,2 * * ? *", "cron(* 2,3,14,15 * * ? *)", 2, 2, 24 * time.Hour},
		{"5 0 * * ? *", "cron(* * * * ? *)", 24, 0, 23*time.Hour + 55*time.Minute},
	} {
		got, err := parseCron(c.cron)
		if err != nil || got.window(c.hours) != c.window || got.until(c.at) != c.until || got.String() != "cron("+c.cron+")" {
			t.Errorf("%s: %v, %s, %v, %s", c.cron, err, got.window(c.hours), got.until(c.at), got)
		}
	}
	for _, bad := range []string{"", "0 2 * * * *", "0 2 ? * ? *", "60 2 * * ? *", "0 24 * * ? *", "0 2-4 * * ? *", "*/5 2 * * ? *", "0 2 * * ?"} {
		if c, err := parseCron(bad); err == nil {
			t.Errorf("%q is read as %v", bad, c)
		}
	}
}

// TestBootstraps: programs are built for the functions' machine, and need
// nothing of it.
func TestBootstraps(t *testing.T) {
	b := bootstraps{dir: t.TempDir(), arch: "arm64"}
	if err := b.build(); err != nil {
		t.Fatal(err)
	}
	for p := range programs {
		f, err := elf.Open(filepath.Join(b.dir, p, "bootstrap"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if libs, err := f.ImportedLibraries(); f.Machine != elf.EM_AARCH64 || err == nil && len(libs) > 0 || f.Section(".debug_info") != nil {
			t.Errorf("%s is for %v, with libraries %v", p, f.Machine, libs)
		}
	}
	if _, err := findBootstraps("", "riscv64"); err == nil || !strings.Contains(err.Error(), "write arm64 or amd64") {
		t.Errorf("riscv64: %v", err)
	}
	if _, err := findBootstraps(t.TempDir(), "arm64"); err == nil || !strings.Contains(err.Error(), "leave SLUICE_BOOTSTRAPS empty to have it built") {
		t.Errorf("nothing built: %v", err)
	}
}

// TestOneVendor: the other vendors' stacks are not even looked at.
func TestOneVendor(t *testing.T) {
	env, err := loadEnvironment("testdata/environment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	built, err := placeholders(base)
	if err != nil {
		t.Fatal(err)
	}
	built.arch = "amd64"
	app := newApp(filepath.Join(base, "out"))
	if err := addStacks(app, env, built, "acme"); err == nil || !strings.Contains(err.Error(), "has no section vendors.acme; it has: prometheus, sim") {
		t.Errorf("unknown vendor: %v", err)
	}
	if err := addStacks(app, env, built, "sim"); err != nil {
		t.Fatal(err)
	}
	app.Synth(nil)
	found, err := filepath.Glob(filepath.Join(base, "out", "*.template.json"))
	if err != nil || len(found) != 2 {
		t.Errorf("%v %v, want the shared stack and sim's", found, err)
	}
	src, err := os.ReadFile(filepath.Join(base, "out", "sluice-sim.template.json"))
	if err != nil || strings.Contains(string(src), `"arm64"`) || !strings.Contains(string(src), `"x86_64"`) {
		t.Errorf("not for amd64: %v", err)
	}
	// Equal content is an equal zip, put together elsewhere and later.
	for _, f := range templates(t)["sluice-sim"].of("AWS::Lambda::Function") {
		if key := f.text("Code", "S3Key"); !strings.Contains(string(src), key) {
			t.Errorf("%v: its zip %s is another one the second time", f, key)
		}
	}
}

// TestAnyAccount: without an account and a region the templates are for
// whoever deploys.
func TestAnyAccount(t *testing.T) {
	env, err := loadEnvironment("environment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	built, err := placeholders(base)
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(filepath.Join(base, "out"))
	if err := addStacks(app, env, built, ""); err != nil {
		t.Fatal(err)
	}
	app.Synth(nil)
	if said, err := checkSchema(t, filepath.Join(base, "out")); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	src, err := os.ReadFile(filepath.Join(base, "out", "sluice-sim.template.json"))
	if err != nil || !strings.Contains(string(src), `"AWS::AccountId"`) || strings.Contains(string(src), "Token[") {
		t.Errorf("%v", err)
	}
}
