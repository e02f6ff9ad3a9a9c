package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/internal/vendorapi"
)

// An environment is what an operator decides: the environment file. The tag of
// a field is its key; environment.yaml shows each key with its default.
type environment struct {
	Prefix  string            `key:"prefix"`  // the first part of every name
	Account string            `key:"account"` // empty: the account of whoever deploys
	Region  string            `key:"region"`  // empty: the region of whoever deploys
	Tags    map[string]string `key:"tags"`    // on everything that can carry tags

	// VendorTag is the tag that tells the vendors' costs apart.
	VendorTag string `key:"vendor_tag"`

	// SharedLake puts the lakes of all vendors into one bucket.
	SharedLake bool `key:"shared_lake"`

	Alarms  sharedAlarms       `key:"alarms"`
	Vendors map[string]*vendor `key:"vendors"`

	file string
}

// sharedAlarms are about the whole account and region.
type sharedAlarms struct {
	Email        string  `key:"email"`         // who is told; empty: subscribe to the topic yourself
	Invocations  int     `key:"invocations"`   // of all functions, in five minutes
	ErrorPercent float64 `key:"error_percent"` // of all invocations, over fifteen minutes
}

// A vendor is one section of vendors.
type vendor struct {
	Spec     string            `key:"spec"`     // path; empty: ../vendors/NAME.yaml
	Settings map[string]string `key:"settings"` // of the spec
	Secrets  secrets           `key:"secrets"`

	Schedules   bool `key:"schedules"` // false: everything is there and nothing runs by itself
	Seed        seed `key:"seed"`
	WindowHours int  `key:"window_hours"` // tiers are ticked from the seed's hour for so long
	VerdictHour int  `key:"verdict_hour"` // a run without a verdict at this hour is an alarm
	Repair      bool `key:"repair"`       // close sends again what is missing

	Workers       int            `key:"workers"` // drains at once, of each tier
	WorkersByTier map[string]int `key:"workers_by_tier"`
	MemoryMB      int            `key:"memory_mb"` // of each function
	MemoryByFunc  map[string]int `key:"memory_mb_by_function"`

	KeepDays     int `key:"keep_days"`     // ledger rows and landed objects
	LandingDays  int `key:"landing_days"`  // landed objects; 0: KeepDays
	UndeleteDays int `key:"undelete_days"` // deleted and replaced objects can be brought back
	LogDays      int `key:"log_days"`

	// MaxReceives is how often a message is received before SQS itself moves it
	// to the dead letters. Attempts are counted in the ledger; receives also
	// count what was given back, throttled or taken over.
	MaxReceives int `key:"max_receives"`

	PointInTime bool         `key:"point_in_time_recovery"`
	Protect     bool         `key:"deletion_protection"`
	Dashboard   bool         `key:"dashboard"`
	Alarms      vendorAlarms `key:"alarms"`
	Lake        lake         `key:"lake"`

	name     string
	specFile string
	plan     *vendorapi.Plan
}

type secrets struct {
	Store  string            `key:"store"`   // ssm or secretsmanager
	Names  map[string]string `key:"names"`   // secret of the spec: its name in the store
	KMSKey string            `key:"kms_key"` // ARN of your own key, if the secrets are under one
}

type seed struct {
	Cron            string `key:"cron"`
	Zone            string `key:"zone"` // empty: the spec's
	FlexibleMinutes int    `key:"flexible_minutes"`
	WhenOpen        string `key:"when_open"` // queue or refuse
}

type vendorAlarms struct {
	OldestMessageHours int `key:"oldest_message_hours"`
	HeldMinutes        int `key:"held_minutes"`
	Errors             int `key:"errors"`    // of the vendor's functions, in fifteen minutes
	Throttles          int `key:"throttles"` // likewise
}

// lake is about the tables that are made of what is landed.
type lake struct {
	Enabled    bool      `key:"enabled"`
	MemoryMB   int       `key:"memory_mb"`   // of its function
	AtOnce     int       `key:"at_once"`     // invocations of it
	TablesDays int       `key:"tables_days"` // published tables; 0: they stay
	StagedDays int       `key:"staged_days"` // what is on its way to be published
	Glue       bool      `key:"glue"`        // describe the tables in the Glue catalog
	FirstDay   string    `key:"first_day"`   // of the tables there
	KMSKey     string    `key:"kms_key"`     // ARN of your own key for the lake's objects
	Snowflake  snowflake `key:"snowflake"`
}

// snowflake is what an account of Snowflake needs to load the tables.
type snowflake struct {
	QueueARN   string `key:"queue_arn"`   // of its pipes: told of new files
	UserARN    string `key:"user_arn"`    // of its storage integration: may read the tables
	ExternalID string `key:"external_id"` // of the same
}

func defaultEnvironment() *environment {
	return &environment{
		Prefix: "sluice", VendorTag: "sluice-vendor", Tags: map[string]string{"app": "sluice"},
		Alarms: sharedAlarms{Invocations: 20_000, ErrorPercent: 10},
	}
}

func defaultVendor() *vendor {
	return &vendor{
		Secrets:   secrets{Store: "ssm"},
		Schedules: true,
		Seed:      seed{Cron: "0 2 * * ? *", FlexibleMinutes: 15, WhenOpen: "queue"},

		WindowHours: 12, VerdictHour: 14, Repair: true,
		Workers: 1, MemoryMB: 128,
		KeepDays: 90, UndeleteDays: 7, LogDays: 30, MaxReceives: 1000,
		PointInTime: true, Protect: true,
		Alarms: vendorAlarms{OldestMessageHours: 6, HeldMinutes: 60, Errors: 3, Throttles: 100},
		Lake:   lake{Enabled: true, MemoryMB: 512, AtOnce: 5, StagedDays: 14, Glue: true, FirstDay: "2026-01-01"},
	}
}

// loadEnvironment reads an environment file and the specs that it names. Its
// error has one line for each mistake.
func loadEnvironment(path string) (*environment, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("environment file: %w: write one like infra/environment.yaml, or name another in SLUICE_ENVIRONMENT", err)
	}
	env := defaultEnvironment()
	env.file = path
	m := &mistakes{file: path}
	readYAML(m, src, env)
	if err := m.err(); err != nil {
		return nil, err // what does not even decode is not worth checking
	}
	env.check(m)
	return env, m.err()
}

// mistakes are what is wrong with a file, a line for each.
type mistakes struct {
	file  string
	lines []string
}

// add notes a mistake at a key. Whoever reads it shall know what to write.
func (m *mistakes) add(key, format string, args ...any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	m.lines = append(m.lines, m.file+": "+key+": "+text)
}

func (m *mistakes) err() error {
	if len(m.lines) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(m.lines, "\n"))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// names lists a map's keys for people.
func names[V any](m map[string]V) string { return list(sortedKeys(m)) }

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
