package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/run"
)

const lakeTablesLong = `Tables lists what can be read: each table's columns with their types, its runs, rows
and bytes, and what the last run changed about its columns. Then the closed runs that
are not published, and why.

--columns prints the columns as a section for the vendor's spec: types that are
declared there are not inferred any more. Where values look like times, which are
never inferred, a comment says so.`

func (a *app) lakeTablesCommand() *cobra.Command {
	var asJSON, asSpec bool
	cmd := &cobra.Command{
		Use: "tables [VENDOR]", Short: "List tables, and runs that are not published", Long: lakeTablesLong,
		Example: "  sluice lake tables\n  sluice lake tables sim --columns >> vendors/sim.yaml",
		Args:    args(0, 1, "at most one vendor"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asSpec && len(args) == 0 {
				return errors.New("whose columns? Name the VENDOR: they go into its spec")
			}
			all := lakeStatus{Tables: []lakeTable{}, Unpublished: []unpublished{}}
			err := a.lookAround(cmd.Context(), args, func(h place) error {
				vendor, err := vendorLooked(cmd.Context(), h, args)
				if err != nil {
					return err
				}
				if asSpec {
					return a.printColumns(cmd.Context(), h, vendor)
				}
				return all.add(cmd.Context(), h, vendor)
			})
			switch {
			case err != nil || asSpec:
				return err
			case asJSON:
				return writeJSON(a.Stdout, all)
			}
			a.printTables(all)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVar(&asSpec, "columns", false, "the columns as a section of a spec")
	return cmd
}

// vendorLooked is the vendor to look at: the one that is named, or that of the
// stack; empty: all of the home.
func vendorLooked(ctx context.Context, h place, args []string) (string, error) {
	if len(args) > 0 {
		vendor, _, err := vendorOf(ctx, h, args[0])
		return vendor, err
	}
	if s, ok := h.(*stack); ok {
		return s.Stack().Vendor, nil
	}
	return "", nil
}

// lakeStatus is what a lake holds, for people and scripts.
type lakeStatus struct {
	Tables      []lakeTable   `json:"tables"`
	Unpublished []unpublished `json:"unpublished"`
}

type lakeTable struct {
	Owner    string       `json:"owner"`
	Table    string       `json:"table"`
	Contract string       `json:"contract"`
	Lineage  []string     `json:"lineage"`
	Columns  []lakeColumn `json:"columns"`
	Key      []string     `json:"key,omitempty"`
	Runs     int          `json:"runs"`
	Rows     int          `json:"rows"`
	Files    int          `json:"files"`
	Bytes    int64        `json:"bytes"`
	First    string       `json:"first_date"`
	Last     string       `json:"last_date"`
	Latest   string       `json:"latest_run"` // the one that was published last
	Change   lake.Change  `json:"change"`     // by it
	Place    string       `json:"place"`
}

type lakeColumn struct {
	Name     string `json:"name"`
	Field    string `json:"field"` // of the rows
	Type     string `json:"type"`
	Declared bool   `json:"declared,omitempty"`
}

// unpublished is a closed run whose rows do not count as they are.
type unpublished struct {
	Run     string   `json:"run"`
	Vendor  string   `json:"vendor"`
	Reasons []string `json:"reasons"`
}

// add takes in what the lake of a place has of a vendor.
func (s *lakeStatus) add(ctx context.Context, h place, vendor string) error {
	c, t, err := catalogOf(ctx, h, vendor)
	if err != nil {
		return err
	}
	for _, of := range c.Tables {
		table, err := statusOf(ctx, t, of)
		if err != nil {
			return err
		}
		s.Tables = append(s.Tables, table)
	}
	runs, err := currentRuns(ctx, h, vendor, "")
	if err != nil {
		return err
	}
	for _, r := range runs {
		if why := whyUnpublished(c, r); len(why) > 0 {
			s.Unpublished = append(s.Unpublished, unpublished{r.ID, r.Vendor, why})
		}
	}
	return nil
}

func statusOf(ctx context.Context, t tables, of lake.Table) (lakeTable, error) {
	out := lakeTable{
		Owner: of.Owner, Table: of.Table, Contract: of.Contract, Key: of.Key, Runs: len(of.Lines), Rows: of.Rows(), Bytes: of.Bytes(),
		Place: t.root + "/tables/" + of.Owner + "/table=" + of.Table,
	}
	data := map[string]bool{}
	for _, c := range of.Columns {
		data[c.Name] = true
		out.Columns = append(out.Columns, lakeColumn{c.Name, c.Field, c.Type.String(), c.Declared})
	}
	for _, c := range of.Layout() {
		if !data[c.Name] && c.Name != "_generation" {
			out.Lineage = append(out.Lineage, c.Name)
		}
	}
	var latest lake.Line
	for _, line := range of.Lines {
		out.Files += line.Files
		if out.First == "" || line.Date < out.First {
			out.First = line.Date
		}
		out.Last = max(out.Last, line.Date)
		if line.Published.After(latest.Published) {
			latest = line
		}
	}
	out.Latest = latest.Run
	if latest.Run == "" {
		return out, nil
	}
	pub, err := lake.Manifest(ctx, t.Store, latest)
	if err != nil {
		return out, err
	}
	for _, p := range pub.Tables {
		if p.Table == of.Table {
			out.Change = p.Change
		}
	}
	return out, nil
}

// whyUnpublished says why a closed run's rows do not count, or not as they are
// now; nil: they do, or the run has none.
func whyUnpublished(c lake.Catalog, r run.Run) []string {
	if r.State != run.Closed || r.Verdict == nil {
		return nil
	}
	line, published := lineOf(c, r.ID)
	if published && line.Rev == r.Rev {
		return nil
	}
	if plan, err := (madeBy{}).plan(r); err == nil && len(plan.Lake.Tables) == 0 {
		return nil
	}
	for _, refusal := range c.Refusals {
		if refusal.Run == r.ID && !refusal.At.Before(r.Closed) {
			return refusal.Reasons
		}
	}
	if published {
		return []string{"published as it was on " + instantText(line.Published) + "; its tasks have changed since"}
	}
	return []string{"nobody has tried yet"}
}

func (a *app) printTables(all lakeStatus) {
	for i, t := range all.Tables {
		if i > 0 {
			a.print("")
		}
		a.printTable(t)
	}
	if len(all.Tables) == 0 {
		a.print("No table is published.")
	}
	if len(all.Unpublished) == 0 {
		return
	}
	a.print("\nClosed and not published (sluice lake publish RUN%s):", a.homeFlag())
	for _, u := range all.Unpublished[:min(len(all.Unpublished), maxNamed)] {
		a.print("  %s: %s", u.Run, strings.Join(u.Reasons, "; "))
	}
	if more := len(all.Unpublished) - maxNamed; more > 0 {
		a.print("  and %s more", number(more))
	}
}

func (a *app) printTable(t lakeTable) {
	days := t.First
	if t.Last != t.First {
		days += " to " + t.Last
	}
	a.print("%s.%s: %s of %s, %s; %s in %s", t.Owner, t.Table, plural(t.Rows, "row"), plural(t.Runs, "run"), days, size(t.Bytes), plural(t.Files, "file"))
	columns := newTable("column", "type", "")
	for _, c := range t.Columns {
		note := ""
		if c.Declared {
			note = "declared"
		}
		if slices.Contains(t.Key, c.Name) {
			note = strings.TrimPrefix(note+", key", ", ")
		}
		columns.add(c.Name, c.Type, note)
	}
	columns.write(a.Stdout, "  ")
	a.print("  with %s", list(t.Lineage))
	for _, text := range changeText(t.Change) {
		a.print("  run %s: %s", t.Latest, text)
	}
}

// printColumns prints the columns of a vendor's tables as a section of its spec.
func (a *app) printColumns(ctx context.Context, h place, vendor string) error {
	c, t, err := catalogOf(ctx, h, vendor)
	if err != nil {
		return err
	}
	if len(c.Tables) == 0 {
		return a.noTables(vendor)
	}
	a.print("lake:\n  tables:")
	for _, table := range c.Tables {
		if table.Owner != vendor {
			continue // that several vendors feed: it is declared
		}
		seen, err := lookAt(ctx, t.Store, table)
		if err != nil {
			return err
		}
		a.print("    %s:", yamlWord(table.Table))
		if table.Contract != "" && table.Contract != "evolve" {
			a.print("      contract: %s", table.Contract)
		}
		a.print("      columns:")
		for _, col := range table.Columns {
			hint := ""
			if kind := seen[col.Name].looksLike(); kind != "" && !col.Declared {
				hint = fmt.Sprintf("  # its values look like %s (then: sluice lake rebuild --all %s)", kind, table.Owner)
			}
			a.print("        %s: %s%s", yamlWord(col.Field), col.Type, hint)
		}
	}
	return nil
}

// yamlWord is a key as YAML takes it.
func yamlWord(s string) string {
	if plainWord.MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	return string(jsonText(s))
}

var plainWord = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// mostLooked is how many rows are looked at for what values look like.
const mostLooked = 2000

// lookAt looks at the values of a table's latest run.
func lookAt(ctx context.Context, store lake.Store, table lake.Table) (map[string]*guess, error) {
	seen := map[string]*guess{}
	enough := errors.New("enough")
	rows := 0
	last := table.Lines[len(table.Lines)-1]
	err := lake.Rows(ctx, store, table, func(line lake.Line) bool { return line.Run == last.Run }, func(names []string, values []any) error {
		for i, name := range names {
			if seen[name] == nil {
				seen[name] = &guess{seconds: true, millis: true, rfc3339: true}
			}
			seen[name].look(values[i])
		}
		if rows++; rows == mostLooked {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return seen, err
}

// guess is what the values of a column may be: all that were seen.
type guess struct {
	some                     bool
	seconds, millis, rfc3339 bool
}

// What people mean by a number of seconds since 1970 lies between these.
const year2000, year2100 = 946684800, 4102444800

func (g *guess) look(v any) {
	switch v := v.(type) {
	case nil:
		return
	case int64:
		g.number(float64(v))
	case float64:
		g.number(v)
	case string:
		_, err := time.Parse(time.RFC3339Nano, v)
		g.rfc3339, g.seconds, g.millis = g.rfc3339 && err == nil, false, false
	default:
		*g = guess{}
	}
	g.some = true
}

func (g *guess) number(v float64) {
	g.seconds = g.seconds && v >= year2000 && v < year2100
	g.millis = g.millis && v >= year2000*1000 && v < year2100*1000
	g.rfc3339 = false
}

// looksLike is the type of time that all values fit; empty: none.
func (g *guess) looksLike() string {
	switch {
	case g == nil || !g.some:
		return ""
	case g.seconds:
		return "timestamp(s)"
	case g.millis:
		return "timestamp(ms)"
	case g.rfc3339:
		return "timestamp"
	}
	return ""
}
