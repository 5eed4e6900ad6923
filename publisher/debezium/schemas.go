package debezium

import "github.com/pgtee/pgtee/publisher/record"

// tableSchemas holds the schemas of the records of one version of a table.
type tableSchemas struct{ key, row, value *record.Schema }

// describe returns the schemas that Debezium gives to the records of a table, named after its topic.
func (e *Encoder) describe(t *table) tableSchemas {
	row := &record.Schema{Type: record.Struct, Optional: true, Name: t.topic + ".Value"}
	for i := range t.columns {
		if c := &t.columns[i]; !c.hidden {
			row.Fields = append(row.Fields, t.field(i))
		}
	}
	s := tableSchemas{row: row, value: e.valueSchema(t.topic, row)}
	if t.key != nil {
		s.key = &record.Schema{Type: record.Struct, Name: t.topic + ".Key"}
		for _, i := range t.key {
			s.key.Fields = append(s.key.Fields, record.Field{Name: t.relation.Columns[i].Name, Schema: t.columns[i].inKey().keySchema})
		}
	}
	return s
}

func (t *table) field(i int) record.Field {
	return record.Field{Name: t.relation.Columns[i].Name, Schema: t.columns[i].schema}
}

func changeSchema(topic string, row *record.Schema) *record.Schema {
	return &record.Schema{
		Type: record.Struct, Name: topic + ".Envelope", Version: 2,
		Fields: []record.Field{
			{Name: "before", Schema: row},
			{Name: "after", Schema: row},
			{Name: "source", Schema: sourceSchema},
			{Name: "transaction", Schema: blockSchema},
			{Name: "op", Schema: record.Required(record.String)},
			{Name: "ts_ms", Schema: record.Nullable(record.Int64)},
			{Name: "ts_us", Schema: record.Nullable(record.Int64)},
			{Name: "ts_ns", Schema: record.Nullable(record.Int64)},
			{Name: "pgtee", Schema: record.PgteeSchema()},
		},
	}
}

var sourceSchema = &record.Schema{
	Type: record.Struct, Name: "io.debezium.connector.postgresql.Source", Version: 1,
	Fields: []record.Field{
		{Name: "version", Schema: record.Required(record.String)},
		{Name: "connector", Schema: record.Required(record.String)},
		{Name: "name", Schema: record.Required(record.String)},
		{Name: "ts_ms", Schema: record.Required(record.Int64)},
		{Name: "snapshot", Schema: &record.Schema{
			Type: record.String, Optional: true, Name: "io.debezium.data.Enum", Version: 1,
			Parameters: []record.Parameter{{Name: "allowed", Value: "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"}},
			Default:    []byte(`"false"`),
		}},
		{Name: "db", Schema: record.Required(record.String)},
		{Name: "sequence", Schema: record.Nullable(record.String)},
		{Name: "ts_us", Schema: record.Nullable(record.Int64)},
		{Name: "ts_ns", Schema: record.Nullable(record.Int64)},
		{Name: "schema", Schema: record.Required(record.String)},
		{Name: "table", Schema: record.Required(record.String)},
		{Name: "txId", Schema: record.Nullable(record.Int64)},
		{Name: "lsn", Schema: record.Nullable(record.Int64)},
		{Name: "xmin", Schema: record.Nullable(record.Int64)},
		{Name: "origin", Schema: record.Nullable(record.String)},
		{Name: "origin_lsn", Schema: record.Nullable(record.Int64)},
	},
}

var blockSchema = &record.Schema{
	Type: record.Struct, Optional: true, Name: "event.block", Version: 1,
	Fields: []record.Field{
		{Name: "id", Schema: record.Required(record.String)},
		{Name: "total_order", Schema: record.Required(record.Int64)},
		{Name: "data_collection_order", Schema: record.Required(record.Int64)},
	},
}

var messageKeySchema = &record.Schema{
	Type: record.Struct, Name: "io.debezium.connector.postgresql.MessageKey", Version: 1,
	Fields: []record.Field{{Name: "prefix", Schema: record.Nullable(record.String)}},
}

// messageSchema returns the schema of the value of a logical message, whose content has the form of bytea.
func messageSchema(binary BinaryMode) *record.Schema {
	return &record.Schema{
		Type: record.Struct, Name: "io.debezium.connector.postgresql.MessageValue", Version: 1,
		Fields: []record.Field{
			{Name: "op", Schema: record.Required(record.String)},
			{Name: "ts_ms", Schema: record.Nullable(record.Int64)},
			{Name: "source", Schema: sourceSchema},
			{Name: "transaction", Schema: blockSchema},
			{Name: "message", Schema: &record.Schema{
				Type: record.Struct, Name: "io.debezium.connector.postgresql.Message", Version: 1,
				Fields: []record.Field{
					{Name: "prefix", Schema: record.Nullable(record.String)},
					{Name: "content", Schema: record.Nullable(binary.schemaType())},
				},
			}},
			{Name: "pgtee", Schema: record.PgteeSchema()},
		},
	}
}

var transactionKeySchema = &record.Schema{
	Type: record.Struct, Name: "io.debezium.connector.common.TransactionMetadataKey", Version: 1,
	Fields: []record.Field{{Name: "id", Schema: record.Required(record.String)}},
}

var transactionSchema = &record.Schema{
	Type: record.Struct, Name: "io.debezium.connector.common.TransactionMetadataValue", Version: 1,
	Fields: []record.Field{
		{Name: "status", Schema: record.Required(record.String)},
		{Name: "id", Schema: record.Required(record.String)},
		{Name: "event_count", Schema: record.Nullable(record.Int64)},
		{Name: "data_collections", Schema: &record.Schema{Type: record.Array, Optional: true, Items: &record.Schema{
			Type: record.Struct, Optional: true, Name: "event.collection", Version: 1,
			Fields: []record.Field{
				{Name: "data_collection", Schema: record.Required(record.String)},
				{Name: "event_count", Schema: record.Required(record.Int64)},
			},
		}}},
		{Name: "ts_ms", Schema: record.Required(record.Int64)},
	},
}
