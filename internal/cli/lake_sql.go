package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/lakesql"
)

const lakeSQLLong = `Sql prints the statements by which an engine reads a vendor's tables, those that it
shares with other vendors too: views that show each row once, of published runs only.
They name the tables' columns as they are now: after new ones have come ("sluice lake
tables" says so), print them again.

DuckDB reads a directory on this machine as well as a bucket. Athena and Snowflake
read a bucket: with --on aws, or where --root says that the lake has been copied to.`

var engines = []string{"duckdb", "athena", "snowflake"}

type sqlFlags struct {
	root, database, region     string
	role, externalID, topicARN string
	schema, warehouse          string
}

func (a *app) lakeSQLCommand() *cobra.Command {
	var flags sqlFlags
	cmd := &cobra.Command{
		Use: "sql duckdb|athena|snowflake VENDOR", Short: "Print the statements that read a vendor's tables", Long: lakeSQLLong,
		Example: "  sluice lake sql duckdb sim | duckdb lake.db\n  sluice lake sql athena sim --on aws --database monitoring\n  sluice lake sql snowflake sim --on aws > lake.sql",
		Args:    args(2, 2, "an engine ("+strings.Join(engines, ", ")+") and VENDOR"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return engines, cobra.ShellCompDirectiveNoFileComp
			case 1:
				return a.completeSpec(cmd, nil, word)
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args[1]), a.soft, func(h place) error { return a.lakeSQL(cmd.Context(), h, args[0], args[1], flags) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.database, "database", "", "athena, snowflake: the `NAME` of the database that is made (default: sluice_VENDOR, SLUICE)")
	f.StringVar(&flags.schema, "schema", "", "snowflake: the `NAME` of the schema that is made (default: the vendor's)")
	f.StringVar(&flags.warehouse, "warehouse", "", "snowflake: the warehouse that loads the index (default: serverless)")
	f.StringVar(&flags.root, "root", "", "where the engine finds the lake, if not here: `s3://BUCKET/PREFIX` or a directory")
	f.StringVar(&flags.region, "region", "", "the bucket's region, with --root")
	f.StringVar(&flags.role, "role-arn", "", "snowflake: the role that it reads the bucket with")
	f.StringVar(&flags.externalID, "external-id", "", "snowflake: the external ID that this role asks for")
	f.StringVar(&flags.topicARN, "topic-arn", "", "snowflake: the topic that announces new objects (default: its own queue)")
	return cmd
}

func (a *app) lakeSQL(ctx context.Context, h place, engine, name string, flags sqlFlags) error {
	vendor, c, t, err := a.published(ctx, h, name)
	if err != nil {
		return err
	}
	place, err := flags.place(t, vendor)
	if err != nil {
		return err
	}
	text, err := statements(engine, place, sqlTables(c), flags)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(a.Stdout, text); err != nil {
		return fmt.Errorf("writing the statements: %w", err)
	}
	return nil
}

// place is where the engine finds the lake.
func (f sqlFlags) place(t tables, vendor string) (lakesql.Place, error) {
	p := lakesql.Place{
		Root: cmp.Or(strings.TrimRight(f.root, "/"), t.root), Vendor: vendor, Bucket: t.bucket, Prefix: strings.Trim(t.prefix, "/"), Region: cmp.Or(f.region, t.region),
		RoleARN: f.role, ExternalID: f.externalID, TopicARN: f.topicARN,
	}
	if f.root == "" {
		return p, nil
	}
	rest, inBucket := strings.CutPrefix(p.Root, "s3://")
	if !inBucket && !strings.HasPrefix(p.Root, "/") {
		return p, fmt.Errorf("--root %q is neither s3://BUCKET/PREFIX nor an absolute directory", f.root)
	}
	p.Bucket, p.Prefix, _ = strings.Cut(rest, "/")
	return p, nil
}

// statements are those of an engine.
func statements(engine string, p lakesql.Place, tables []lakesql.Table, flags sqlFlags) (string, error) {
	if !slices.Contains(engines, engine) {
		return "", errors.New("the engines are " + list(engines))
	}
	if engine != "duckdb" && !strings.HasPrefix(p.Root, "s3://") {
		return "", fmt.Errorf("the lake is the directory %s, and %s reads a bucket: say --root s3://BUCKET/PREFIX if it is copied to one, or --on aws", p.Root, engine)
	}
	switch engine {
	case "athena":
		// Vendors have tables of the same name: each has a database of its own.
		return lakesql.Athena(p, tables, cmp.Or(flags.database, "sluice_"+strings.ReplaceAll(p.Vendor, "-", "_"))), nil
	case "snowflake":
		return lakesql.Snowflake(p, tables, lakesql.SnowflakeOptions{Database: flags.database, Schema: flags.schema, Warehouse: flags.warehouse}), nil
	}
	return lakesql.DuckDB(p, tables), nil
}

// sqlTables are the tables of a catalog as the engines are told of them.
func sqlTables(c lake.Catalog) (out []lakesql.Table) {
	for _, t := range c.Tables {
		s := lakesql.Table{Owner: t.Owner, Name: t.Table, Common: t.Owner == "common", Template: t.Template}
		for _, line := range t.Lines {
			if s.FirstDate == "" || line.Date < s.FirstDate {
				s.FirstDate = line.Date
			}
			s.LastDate = max(s.LastDate, line.Date)
		}
		for _, col := range t.Layout() {
			kind := col.Type.String()
			if col.Type.IsTime() {
				kind = "timestamp"
			}
			s.Columns = append(s.Columns, lakesql.Column{Name: col.Name, Type: kind})
		}
		out = append(out, s)
	}
	return out
}
