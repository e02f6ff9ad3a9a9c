package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsglue"
	"github.com/aws/jsii-runtime-go"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// What Athena reads is described in the Glue catalog as `sluice lake sql athena`
// describes it: all files of each table whose columns are declared, and the index
// that says which of their rows count. What is not declared is not known before
// there is data: those statements name it, too, and make the views.

// A column is one of the catalog's.
type column struct{ name, kind string }

// The types of a spec, as Athena knows them.
var athenaTypes = map[string]string{
	"text": "string", "int": "bigint", "double": "double", "bool": "boolean", "json": "string", "date": "date", "timestamp": "timestamp",
}

func (v *vendor) database(prefix string) string {
	return strings.ReplaceAll(prefix+"_"+v.name, "-", "_")
}

// addGlue describes the vendor's tables.
func (s *vendorStack) addGlue() {
	part, name := s.part("glue"), s.v.database(s.env.Prefix)
	database := awsglue.NewCfnDatabase(part, jsii.String("Database"), &awsglue.CfnDatabaseProps{
		CatalogId: s.stack.Account(),
		DatabaseInput: &awsglue.CfnDatabase_DatabaseInputProperty{
			Name: jsii.String(name), Description: jsii.String("Sluice: the lake of " + s.v.name),
		},
	})
	add := func(id string, input *awsglue.CfnTable_TableInputProperty) {
		input.TableType = jsii.String("EXTERNAL_TABLE")
		awsglue.NewCfnTable(part, jsii.String(id), &awsglue.CfnTableProps{
			CatalogId: s.stack.Account(), DatabaseName: jsii.String(name), TableInput: input,
		}).AddResourceDependency(database, nil)
	}
	root := "s3://" + s.lake.bucket + "/" + strings.TrimSuffix(lakePrefix, "/")
	add("Published", indexTable(root))
	for _, t := range s.v.plan.Lake.Tables {
		if len(t.Columns) > 0 {
			add("Table-"+t.Name, s.v.filesTable(t, root))
		}
	}
}

// indexTable is the table of what counts. Lines without a run are of no concern,
// and neither are their other fields.
func indexTable(root string) *awsglue.CfnTable_TableInputProperty {
	return &awsglue.CfnTable_TableInputProperty{
		Name: jsii.String("published"), Description: jsii.String("what counts: a line for each run of each table"),
		Parameters: map[string]string{"EXTERNAL": "TRUE"},
		StorageDescriptor: &awsglue.CfnTable_StorageDescriptorProperty{
			Columns:      catalogColumns([]column{{"run", "string"}, {"generation", "string"}}),
			Location:     jsii.String(root + "/published/"),
			InputFormat:  jsii.String("org.apache.hadoop.mapred.TextInputFormat"),
			OutputFormat: jsii.String("org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"),
			SerdeInfo: &awsglue.CfnTable_SerdeInfoProperty{
				SerializationLibrary: jsii.String("org.apache.hive.hcatalog.data.JsonSerDe"), Parameters: map[string]string{"serialization.format": "1"},
			},
		},
	}
}

// filesTable is the table of all files of a table.
func (v *vendor) filesTable(t vendorapi.LakeTable, root string) *awsglue.CfnTable_TableInputProperty {
	owner := v.name
	if t.Common {
		owner = "common"
	}
	dir, all := root+"/tables/"+owner+"/table="+t.Name+"/", v.tableColumns(t)
	parameters := map[string]string{"EXTERNAL": "TRUE", "classification": "parquet"}
	input := &awsglue.CfnTable_TableInputProperty{
		Name: jsii.String(t.Name + "_files"), Description: jsii.String("all files of " + t.Name + ": join it with published by run and generation"),
		StorageDescriptor: &awsglue.CfnTable_StorageDescriptorProperty{
			Columns: catalogColumns(all), Location: jsii.String(dir),
			InputFormat:  jsii.String("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"),
			OutputFormat: jsii.String("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"),
			SerdeInfo: &awsglue.CfnTable_SerdeInfoProperty{
				SerializationLibrary: jsii.String("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"), Parameters: map[string]string{"serialization.format": "1"},
			},
		},
	}
	if key, template, ok := projection(v.plan.Lake.PathOf(t), all); ok {
		input.PartitionKeys = catalogColumns([]column{{key, "string"}})
		maps.Copy(parameters, map[string]string{
			"projection.enabled": "true", "projection." + key + ".type": "date", "projection." + key + ".format": "yyyy-MM-dd",
			"projection." + key + ".range": v.Lake.FirstDay + ",NOW+1DAYS", "projection." + key + ".interval": "1", "projection." + key + ".interval.unit": "DAYS",
			"storage.location.template": dir + template,
		})
	}
	input.Parameters = parameters
	return input
}

// projection is the key of the day's directory below a table's, and the template
// down to it: days are worked out and not looked up. It is not ok where what
// stands before the day cannot be.
func projection(path string, all []column) (key, template string, ok bool) {
	free := func(name string) string {
		for slices.ContainsFunc(all, func(c column) bool { return strings.EqualFold(c.name, name) }) {
			name = "_" + name
		}
		return name
	}
	_, below, _ := strings.Cut(path, "/") // of table={table}
	for dir := range strings.SplitSeq(below, "/") {
		name, value, partition := strings.Cut(dir, "=")
		switch {
		case partition && value == "{date}":
			key = free(name)
			return key, template + name + "=${" + key + "}/", true
		case dir == "{date}":
			key = free("date")
			return key, template + "${" + key + "}/", true
		case strings.Contains(dir, "{"):
			return "", "", false
		}
		template += dir + "/"
	}
	return "", "", false
}

// tableColumns are what is known of a table's columns before there is data, in
// the order of its files.
func (v *vendor) tableColumns(t vendorapi.LakeTable) []column {
	all := []column{{"_run", "string"}, {"_generation", "string"}, {"_source", "string"}, {"_upload", "string"}}
	for _, tier := range v.keyTiers(t) {
		all = append(all, column{"_" + tier, "string"})
	}
	all = append(all, column{"_fetched_at", "timestamp"})
	if len(t.Key) > 0 {
		all = append(all, column{"_key", "string"})
	}
	for _, c := range t.Columns {
		kind, _, _ := strings.Cut(c.Type, "(")
		if name, ok := athenaTypes[kind]; ok {
			kind = name
		} else {
			kind = c.Type // decimal(p,s)
		}
		all = append(all, column{strings.ToLower(c.Name), kind})
	}
	if t.Contract != "freeze" { // where there is none it is null
		all = append(all, column{"_variant", "string"})
	}
	return all
}

// keyTiers are the tiers whose keys a table has as columns: those in the paths of
// all that feed it.
func (v *vendor) keyTiers(t vendorapi.LakeTable) (out []string) {
	// What other columns of the lineage are called.
	taken := []string{"rec", "run", "source", "upload", "generation", "key", "variant", "rest", "task", "fetch", "chunk", "page", "row", "fetched_at"}
	for _, tier := range v.plan.Tiers {
		if !slices.Contains(tier.Tables, t.Name) && (t.From == "" || !slices.Contains(tier.Tables, t.From)) {
			continue
		}
		for _, name := range tier.Path {
			if slices.Contains(taken, name) {
				name += "_key"
			}
			if name = strings.ToLower(name); !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

func catalogColumns(columns []column) any {
	var out []any
	for _, c := range columns {
		out = append(out, &awsglue.CfnTable_ColumnProperty{Name: jsii.String(c.name), Type: jsii.String(c.kind)})
	}
	return &out
}
