package columns_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/columns/columnstest"
)

var update = flag.Bool("update", false, "write docs/lake-types.md")

// TestListed: docs/lake-types.md lists the cases that are held, as they are.
func TestListed(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# What values become

Each line is a test: the rows are landed, published, and read back by Sluice and by DuckDB exactly as it says, in
whatever batches they come (bytes that are no UTF-8 by Sluice only: no answer that has any is landed). Where nothing is declared the type is inferred. Long texts are cut here. The list is written by
` + "`go test ./internal/columns -run TestListed -update`" + `.

| case | rows | columns |
|---|---|---|
`)
	for _, c := range columnstest.Cases() {
		var rows, columns []string
		for _, file := range c.Files {
			for _, row := range file {
				rows = append(rows, code(row))
			}
		}
		for _, d := range c.Declared {
			columns = append(columns, fmt.Sprintf("declared: %s %s", code(d.Field), d.Type))
		}
		if c.Variant {
			columns = append(columns, "contract: variant")
		}
		for _, w := range c.Want {
			columns = append(columns, fmt.Sprintf("%s %s: %s", code(w.Name), w.Type, values(w.Values)))
		}
		if c.Misfits != nil {
			columns = append(columns, "`_variant`: "+values(c.Misfits))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.ReplaceAll(c.Name, "|", `\|`), strings.Join(rows, "<br>"), strings.Join(columns, "<br>"))
	}
	const path = "../../docs/lake-types.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("%s does not list the cases as they are: run this test with -update", path)
	}
}

func values(all []any) string {
	var out []string
	for _, v := range all {
		switch v := v.(type) {
		case nil:
			out = append(out, "null")
		case time.Time:
			out = append(out, v.Format(time.RFC3339Nano))
		case string:
			out = append(out, code(v))
		default:
			out = append(out, fmt.Sprint(v))
		}
	}
	return strings.Join(out, ", ")
}

// code is a text in a table of Markdown, cut if it is long.
func code(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if r := []rune(s); len(r) > 70 {
		s = string(r[:70]) + "…"
	}
	s = fmt.Sprintf("%q", s)
	s = strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`)
	if s == "" {
		return `""`
	}
	return "`" + strings.NewReplacer("|", `\|`, "`", "'").Replace(s) + "`"
}
