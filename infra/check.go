package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/vendorapi"
)

var (
	prefixForm  = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	keyARNForm  = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)
	emailForm   = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
	queueForm   = regexp.MustCompile(`^arn:aws[a-z-]*:sqs:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,80}$`)
	userForm    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:(user|role|root)(/.+)?$`)
	externalID  = regexp.MustCompile(`^[A-Za-z0-9+=,.@:/_-]+$`)
	secretForm  = regexp.MustCompile(`^[A-Za-z0-9/_.+=@:-]+$`)

	// logDays are what CloudWatch Logs takes.
	logDays = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)

// check finds what is wrong with an environment, and loads its specs.
func (e *environment) check(m *mistakes) {
	if !prefixForm.MatchString(e.Prefix) {
		m.add("prefix", "%q is no short lower-case name such as sluice (at most 16 letters, digits and dashes)", e.Prefix)
	}
	if e.Account != "" && !accountForm.MatchString(e.Account) {
		m.add("account", "%q is no account number of 12 digits; leave it empty for the account of whoever deploys", e.Account)
	}
	if e.Region != "" && !regionForm.MatchString(e.Region) {
		m.add("region", "%q is no region such as eu-central-1; leave it empty for the region of whoever deploys", e.Region)
	}
	if e.Alarms.Email != "" && !emailForm.MatchString(e.Alarms.Email) {
		m.add("alarms.email", "%q is no mail address; leave it empty for none", e.Alarms.Email)
	}
	between(m, "alarms.invocations", e.Alarms.Invocations, 1, 1_000_000_000)
	if e.Alarms.ErrorPercent <= 0 || e.Alarms.ErrorPercent > 100 {
		m.add("alarms.error_percent", "%v is no percentage: write more than 0 and at most 100", e.Alarms.ErrorPercent)
	}
	for _, key := range append(sortedKeys(e.Tags), e.VendorTag) {
		if key == "" || len(key) > 128 || strings.HasPrefix(strings.ToLower(key), "aws:") {
			m.add("tags", "%q is no tag: write 1 to 128 characters that do not begin with aws:", key)
		}
	}
	if len(e.Vendors) == 0 {
		m.add("vendors", "there is none: add a section with a vendor's name, as in infra/environment.yaml")
	}
	for _, name := range sortedKeys(e.Vendors) {
		v, at := e.Vendors[name], "vendors."+name+"."
		v.name = name
		v.load(m, at, filepath.Dir(e.file))
		v.check(m, at)
		v.checkLake(m, at+"lake.", e.Region)
		if v.plan != nil {
			v.checkTiers(m, at)
			v.checkSecrets(m, at)
			v.checkNames(m, at, e.Prefix)
		}
	}
	e.checkTwice(m)
	e.checkShared(m)
}

// between is the check that most numbers need.
func between(m *mistakes, key string, n, low, high int) {
	if n < low || n > high {
		m.add(key, "%d is out of range: write a number from %d to %d", n, low, high)
	}
}

// load reads the vendor's spec and binds the settings to it.
func (v *vendor) load(m *mistakes, at, dir string) {
	switch {
	case v.Spec == "":
		v.specFile = filepath.Join("..", "vendors", v.name+".yaml")
	case filepath.IsAbs(v.Spec):
		v.specFile = v.Spec
	default:
		v.specFile = filepath.Join(dir, v.Spec)
	}
	spec, err := vendorapi.Load(v.specFile)
	var broken *vendorapi.SpecError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.add(at+"spec", "there is no spec at %s: write its path, relative to this file", v.specFile)
		return
	case errors.As(err, &broken):
		m.add(at+"spec", "the spec has mistakes, see sluice vendor check: %v", err)
		return
	case err != nil:
		m.add(at+"spec", "%v", err)
		return
	case spec.Name != v.name:
		m.add(at+"spec", "%s describes the vendor %s: call the section vendors.%s", v.specFile, spec.Name, spec.Name)
		return
	}
	if v.plan, err = spec.Bind(v.Settings); err != nil {
		v.plan = nil
		m.add(at+"settings", "%v", err)
	}
}

// check looks at what needs no spec.
func (v *vendor) check(m *mistakes, at string) {
	if _, err := parseCron(v.Seed.Cron); err != nil {
		m.add(at+"seed.cron", "%v", err)
	}
	if _, err := time.LoadLocation(v.Seed.Zone); err != nil || v.Seed.Zone == "Local" {
		m.add(at+"seed.zone", "%q is no time zone such as UTC or Europe/Berlin; leave it empty for the spec's", v.Seed.Zone)
	}
	if v.Seed.WhenOpen != "queue" && v.Seed.WhenOpen != "refuse" {
		m.add(at+"seed.when_open", "%q is neither queue (the new run waits for the last one's end) nor refuse", v.Seed.WhenOpen)
	}
	if !slices.Contains(logDays, v.LogDays) {
		m.add(at+"log_days", "CloudWatch keeps no log for %d days: write one of %s", v.LogDays, strings.Trim(strings.ReplaceAll(fmt.Sprint(logDays), " ", ", "), "[]"))
	}
	for _, n := range []struct {
		key          string
		is, low, top int
	}{
		{"seed.flexible_minutes", v.Seed.FlexibleMinutes, 0, 1440},
		{"window_hours", v.WindowHours, 1, 24},
		{"verdict_hour", v.VerdictHour, 0, 23},
		{"workers", v.Workers, 1, 100},
		{"memory_mb", v.MemoryMB, 128, 10240},
		{"keep_days", v.KeepDays, 1, 36500},
		{"landing_days", v.LandingDays, 0, 36500},
		{"undelete_days", v.UndeleteDays, 1, 3650},
		{"max_receives", v.MaxReceives, 50, 1000},
		{"alarms.oldest_message_hours", v.Alarms.OldestMessageHours, 1, 14 * 24},
		{"alarms.held_minutes", v.Alarms.HeldMinutes, 1, 7 * 24 * 60},
		{"alarms.errors", v.Alarms.Errors, 1, 1_000_000},
		{"alarms.throttles", v.Alarms.Throttles, 1, 1_000_000},
	} {
		between(m, at+n.key, n.is, n.low, n.top)
	}
}

// checkTiers looks at what names tiers.
func (v *vendor) checkTiers(m *mistakes, at string) {
	tiers, functions := v.tiers(), []string{"seed", "close"}
	for _, t := range tiers {
		functions = append(functions, "tier-"+t)
	}
	for _, t := range sortedKeys(v.WorkersByTier) {
		if !slices.Contains(tiers, t) {
			m.add(at+"workers_by_tier."+t, "there is no such tier; the spec has: %s", list(tiers))
		}
		between(m, at+"workers_by_tier."+t, v.WorkersByTier[t], 1, 100)
	}
	for _, f := range sortedKeys(v.MemoryByFunc) {
		if !slices.Contains(functions, f) {
			m.add(at+"memory_mb_by_function."+f, "there is no such function; there are: %s", list(functions))
		}
		between(m, at+"memory_mb_by_function."+f, v.MemoryByFunc[f], 128, 10240)
	}
}

func (v *vendor) checkSecrets(m *mistakes, at string) {
	if v.Secrets.Store != "ssm" && v.Secrets.Store != "secretsmanager" {
		m.add(at+"secrets.store", "%q is neither ssm nor secretsmanager", v.Secrets.Store)
	}
	if v.Secrets.KMSKey != "" && !keyARNForm.MatchString(v.Secrets.KMSKey) {
		m.add(at+"secrets.kms_key", "%q is no ARN of a key (arn:aws:kms:REGION:ACCOUNT:key/ID); leave it empty unless the secrets are under a key of your own", v.Secrets.KMSKey)
	}
	for _, s := range sortedKeys(v.Secrets.Names) {
		if !slices.Contains(v.plan.Secrets, s) {
			m.add(at+"secrets.names."+s, "the spec uses no such secret; it uses: %s", list(v.plan.Secrets))
		}
		if name := v.Secrets.Names[s]; !secretForm.MatchString(name) || v.Secrets.Store == "ssm" && strings.HasPrefix(name, "arn:") {
			m.add(at+"secrets.names."+s, "%q is no secret's name such as /acme/token (an ARN is for secretsmanager)", name)
		}
	}
}
