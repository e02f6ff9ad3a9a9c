package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A cron is the seed's schedule, as far as other times follow from it: EventBridge
// Scheduler's six fields, of which minute and hours are plain numbers.
type cron struct {
	fields []string
	minute int
	hours  []int // sorted
}

func parseCron(s string) (cron, error) {
	c := cron{fields: strings.Fields(s)}
	wrong := func(why string) (cron, error) {
		return cron{}, fmt.Errorf("%q %s: write minute, hour, day of month, month, day of week and year, as in 0 2 * * ? * for each day at 02:00", s, why)
	}
	if len(c.fields) != 6 {
		return wrong(fmt.Sprintf("has %d fields, not six", len(c.fields)))
	}
	if (c.fields[2] == "?") == (c.fields[4] == "?") {
		return wrong("needs ? for either the day of month or the day of week")
	}
	var err error
	if c.minute, err = strconv.Atoi(c.fields[0]); err != nil || c.minute < 0 || c.minute > 59 {
		return wrong("has no minute from 0 to 59")
	}
	for h := range strings.SplitSeq(c.fields[1], ",") {
		n, err := strconv.Atoi(h)
		if err != nil || n < 0 || n > 23 {
			return wrong("has no hour from 0 to 23 (several: 2,14)")
		}
		c.hours = append(c.hours, n)
	}
	slices.Sort(c.hours)
	return c, nil
}

// daily tells whether it fires each day.
func (c cron) daily() bool {
	f := strings.Join(c.fields[2:], " ")
	return f == "* * ? *" || f == "? * * *"
}

func (c cron) String() string { return "cron(" + strings.Join(c.fields, " ") + ")" }

// window is each minute of the so many hours that begin with a seed's. It is
// every day's, whatever days the seed has: a tick without a run costs next to
// nothing, and a window may pass midnight.
func (c cron) window(hours int) string {
	if hours >= 24 {
		return "cron(* * * * ? *)"
	}
	in := map[int]bool{}
	for _, h := range c.hours {
		for i := range hours {
			in[(h+i)%24] = true
		}
	}
	var each []string
	for h := range 24 {
		if in[h] {
			each = append(each, strconv.Itoa(h))
		}
	}
	return "cron(* " + strings.Join(each, ",") + " * * ? *)"
}

// until is the time from the day's first seed to the next time that it is so
// many o'clock.
func (c cron) until(hour int) time.Duration {
	d := time.Duration(hour-c.hours[0])*time.Hour - time.Duration(c.minute)*time.Minute
	if d <= 0 {
		d += 24 * time.Hour
	}
	return d
}
