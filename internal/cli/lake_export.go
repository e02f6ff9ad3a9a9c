package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/lake"
)

const lakeExportLong = `Export writes a table's rows, those that count, run by run in the order of their
windows, as CSV or as JSON lines: for loaders that want files.

CSV has a line of headings, quotes as RFC 4180 has them, times as RFC 3339 in UTC and
nothing for a null (--null writes something else: an empty text looks the same).
JSON lines have nested values as they are, and NaN and the infinities as strings.

A file is written beside its place and then renamed, so that it is there whole or
not at all. Without -o the rows go to standard output.`

type exportFlags struct {
	format, delimiter, null string
	run, from, to, out      string
}

func (a *app) lakeExportCommand() *cobra.Command {
	var flags exportFlags
	cmd := &cobra.Command{
		Use: "export VENDOR TABLE", Short: "Write a table as CSV or JSON lines", Long: lakeExportLong,
		Example: `  sluice lake export sim metrics -o metrics.csv
  sluice lake export sim metrics --delimiter ";" --from 2026-01-01 --to 2026-02-01 > january.csv
  sluice lake export sim metrics --format ndjson --run sim-20260102-4f2k1a`,
		Args: args(2, 2, "VENDOR and TABLE (sluice lake tables lists them)"), ValidArgsFunction: a.completeTable,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error { return a.export(cmd.Context(), h, args[0], args[1], flags) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.format, "format", "csv", "csv or ndjson")
	f.StringVar(&flags.delimiter, "delimiter", ",", "what stands between the fields of CSV: one character, or tab")
	f.StringVar(&flags.null, "null", "", "what CSV has for a null")
	f.StringVar(&flags.run, "run", "", "only the rows of this `RUN`")
	f.StringVar(&flags.from, "from", "", "only runs whose window begins on this `DATE` or later")
	f.StringVar(&flags.to, "to", "", "only runs whose window begins before this `DATE`")
	f.StringVarP(&flags.out, "out", "o", "", "the `FILE` to write (default: standard output)")
	_ = cmd.RegisterFlagCompletionFunc("run", a.completeRunFlag)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"csv", "ndjson"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// comma is the delimiter of CSV.
func (f exportFlags) comma() (rune, error) {
	if f.delimiter == "tab" || f.delimiter == `\t` {
		return '\t', nil
	}
	r, n := utf8.DecodeRuneInString(f.delimiter)
	if n == 0 || n != len(f.delimiter) || r == utf8.RuneError || slices.Contains([]rune{'"', '\r', '\n'}, r) {
		return 0, fmt.Errorf("--delimiter %q: it is one character such as ; or the word tab", f.delimiter)
	}
	return r, nil
}

// wanted tells which runs' rows are exported.
func (f exportFlags) wanted() (func(lake.Line) bool, error) {
	for _, date := range []struct{ flag, value string }{{"--from", f.from}, {"--to", f.to}} {
		if _, err := time.Parse(time.DateOnly, date.value); date.value != "" && err != nil {
			return nil, fmt.Errorf("%s %q is no date: write 2026-01-02", date.flag, date.value)
		}
	}
	return func(line lake.Line) bool {
		return (f.run == "" || line.Run == f.run) && (f.from == "" || line.Date >= f.from) && (f.to == "" || line.Date < f.to)
	}, nil
}

func (a *app) export(ctx context.Context, h place, name, table string, flags exportFlags) error {
	comma, err := flags.comma()
	if err != nil {
		return err
	}
	wanted, err := flags.wanted()
	if err != nil {
		return err
	}
	if flags.format != "csv" && flags.format != "ndjson" {
		return fmt.Errorf("--format %q: it is csv or ndjson", flags.format)
	}
	_, c, t, err := a.published(ctx, h, name)
	if err != nil {
		return err
	}
	found, err := c.Find(table)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(found.Lines, wanted) {
		return fmt.Errorf("no run of table %s is published of which that is true: sluice lake tables %s%s", found.Table, quote(name), a.homeFlag())
	}
	rows := 0
	err = a.writeTo(flags.out, func(w io.Writer) error {
		e := newExporter(w, found, flags, comma)
		err := lake.Rows(ctx, t.Store, found, wanted, func(_ []string, values []any) error { return e.row(values) })
		rows = e.rows
		return errors.Join(err, e.end())
	})
	if err != nil {
		return fmt.Errorf("exporting table %s: %w", found.Table, err)
	}
	a.say("%s", plural(rows, "row"))
	return nil
}

// writeTo writes standard output, or a file: beside its place, then renamed.
func (a *app) writeTo(path string, write func(io.Writer) error) error {
	if path == "" || path == "-" {
		return write(a.Stdout)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone by then, if all went well
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// An exporter writes rows.
type exporter struct {
	out     *bufio.Writer
	csv     *csv.Writer // nil: JSON lines
	null    string
	columns []columns.Column
	at      []int // where each stands in a row
	cells   []string
	rows    int
}

// newExporter begins with the headings. The generation is no column of a table:
// it only tells which files count.
func newExporter(w io.Writer, t lake.Table, flags exportFlags, comma rune) *exporter {
	e := &exporter{out: bufio.NewWriterSize(w, 64<<10), null: flags.null}
	for i, c := range t.Layout() {
		if c.Name != "_generation" {
			e.columns, e.at = append(e.columns, c), append(e.at, i)
			e.cells = append(e.cells, c.Name)
		}
	}
	if flags.format == "csv" {
		e.csv = csv.NewWriter(e.out)
		e.csv.Comma = comma
		_ = e.csv.Write(e.cells) // the first row says what is wrong
	}
	return e
}

func (e *exporter) row(values []any) error {
	e.rows++
	if e.csv == nil {
		return e.object(values)
	}
	for i, at := range e.at {
		e.cells[i] = e.null
		if v := values[at]; v != nil {
			e.cells[i] = cellText(v)
		}
	}
	return e.csv.Write(e.cells)
}

// object writes a row as a JSON line.
func (e *exporter) object(values []any) error {
	line := []byte{'{'}
	for i, at := range e.at {
		if i > 0 {
			line = append(line, ',')
		}
		line = append(append(line, jsonText(e.columns[i].Name)...), ':')
		v := values[at]
		_, number := v.(int64)
		f, double := v.(float64)
		_, truth := v.(bool)
		switch {
		case v == nil:
			line = append(line, "null"...)
		case number || truth || double && !math.IsNaN(f) && !math.IsInf(f, 0) || e.columns[i].Type == columns.TypeJSON || e.columns[i].Type.Name == "decimal":
			line = append(line, cellText(v)...)
		default:
			line = append(line, jsonText(cellText(v))...)
		}
	}
	return writeLine(e.out, append(line, '}'))
}

func (e *exporter) end() error {
	if e.csv != nil {
		if e.csv.Flush(); e.csv.Error() != nil {
			return e.csv.Error()
		}
	}
	return e.out.Flush()
}

// cellText is a value as text.
func cellText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return doubleText(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

// doubleText is a double in the fewest digits, as JSON has numbers.
func doubleText(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// jsonText is a text as JSON.
func jsonText(s string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string is always JSON
	return bytes.TrimRight(out.Bytes(), "\n")
}
