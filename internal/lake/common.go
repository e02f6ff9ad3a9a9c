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
				if !slices.ContainsFunc(s.Columns, func(n columns.Column) bool { return n.Name == have.Name && n.Type == have.Type }) {
					return fmt.Errorf("table %s: another vendor has changed its columns meanwhile: %w", s.Table, landing.ErrSwapped)
				}
			}
			if len(now.Columns) == len(s.Columns) {
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
