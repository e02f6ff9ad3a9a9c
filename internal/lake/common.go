package lake

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/landing"
)

// commonSchema is the schema of a table that several vendors feed.
func (l *Lake) commonSchema(ctx context.Context, table string) (s Schema, there bool, err error) {
	there, err = l.readIf(ctx, commonSchemaName(table), &s)
	return s, there, err
}

// feedsAlone tells whether no other vendor has rows in a table that they may
// share.
func (l *Lake) feedsAlone(ctx context.Context, table string) (bool, error) {
	names, err := l.names(ctx, "published/")
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if name == l.indexName() {
			continue
		}
		x, err := readPublished(ctx, l.Store, name)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(x.Lines, func(line Line) bool { return line.Owner == common && line.Table == table }) {
			return false, nil
		}
	}
	return true, nil
}

func commonSchemaName(table string) string { return "schemas/" + common + "/" + table + ".json" }

// commonSchemas writes what is new of the schemas that several vendors share. It
// comes before the index: a column without values is harmless.
func (c *change) commonSchemas(ctx context.Context) error {
	for _, s := range c.schemas {
		if s.Owner != common {
			continue
		}
		data, tag, err := c.l.Store.Tag(ctx, commonSchemaName(s.Table))
		if err != nil {
			return fmt.Errorf("reading %s: %w", commonSchemaName(s.Table), err)
		}
		var now Schema
		if tag != "" {
			if now, err = parseSchema(data); err != nil {
				return fmt.Errorf("reading %s: %w", commonSchemaName(s.Table), err)
			}
			for _, have := range now.Columns {
				if !c.alone[s.Table] && !slices.ContainsFunc(s.Columns, func(n columns.Column) bool { return n.Name == have.Name && n.Type == have.Type }) {
					return fmt.Errorf("table %s: another vendor has changed its columns meanwhile: %w", s.Table, landing.ErrSwapped)
				}
			}
			if !c.alone[s.Table] && len(now.Columns) == len(s.Columns) {
				continue
			}
		}
		if _, err := c.l.Store.Swap(ctx, commonSchemaName(s.Table), tag, packSchema(s)); err != nil {
			return fmt.Errorf("writing %s: %w", commonSchemaName(s.Table), err)
		}
	}
	return nil
}

func parseSchema(data []byte) (s Schema, err error) {
	err = json.Unmarshal(data, &s)
	return s, err
}

func packSchema(s Schema) []byte {
	data, _ := json.Marshal(s) // of plain data: it cannot fail
	return data
}
