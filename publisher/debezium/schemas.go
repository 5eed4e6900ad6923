package debezium

import "github.com/pgtee/pgtee/publisher"

// tableSchemas describe the records of one version of a table.
type tableSchemas struct{ key, row, value *publisher.Schema }

// describe makes the schemas that Debezium gives to the records of a table, named after its topic.
func (e *Encoder) describe(t *table) tableSchemas {
	row := &publisher.Schema{Type: publisher.Struct, Optional: true, Name: t.topic + ".Value"}
	for i := range t.columns {
		if c := &t.columns[i]; !c.hidden {
			row.Fields = append(row.Fields, t.field(i))
		}
	}
	s := tableSchemas{row: row, value: e.valueSchema(t.topic, row)}
	if t.key != nil {
		s.key = &publisher.Schema{Type: publisher.Struct, Name: t.topic + ".Key"}
		for _, i := range t.key {
			s.key.Fields = append(s.key.Fields, publisher.Field{Name: t.relation.Columns[i].Name, Schema: t.columns[i].keySchema})
		}
	}
	return s
}

func (t *table) field(i int) publisher.Field {
	return publisher.Field{Name: t.relation.Columns[i].Name, Schema: t.columns[i].schema}
}

func changeSchema(topic string, row *publisher.Schema) *publisher.Schema {
	return &publisher.Schema{
		Type: publisher.Struct, Name: topic + ".Envelope", Version: 2,
		Fields: []publisher.Field{
			{Name: "before", Schema: row},
			{Name: "after", Schema: row},
			{Name: "source", Schema: sourceSchema},
			{Name: "transaction", Schema: blockSchema},
			{Name: "op", Schema: publisher.Required(publisher.String)},
			{Name: "ts_ms", Schema: publisher.Nullable(publisher.Int64)},
			{Name: "ts_us", Schema: publisher.Nullable(publisher.Int64)},
			{Name: "ts_ns", Schema: publisher.Nullable(publisher.Int64)},
			{Name: "pgtee", Schema: publisher.PgteeSchema()},
		},
	}
}

var sourceSchema = &publisher.Schema{
	Type: publisher.Struct, Name: "io.debezium.connector.postgresql.Source", Version: 1,
	Fields: []publisher.Field{
		{Name: "version", Schema: publisher.Required(publisher.String)},
		{Name: "connector", Schema: publisher.Required(publisher.String)},
		{Name: "name", Schema: publisher.Required(publisher.String)},
		{Name: "ts_ms", Schema: publisher.Required(publisher.Int64)},
		{Name: "snapshot", Schema: &publisher.Schema{
			Type: publisher.String, Optional: true, Name: "io.debezium.data.Enum", Version: 1,
			Parameters: []publisher.Parameter{{Name: "allowed", Value: "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"}},
			Default:    []byte(`"false"`),
		}},
		{Name: "db", Schema: publisher.Required(publisher.String)},
		{Name: "sequence", Schema: publisher.Nullable(publisher.String)},
		{Name: "ts_us", Schema: publisher.Nullable(publisher.Int64)},
		{Name: "ts_ns", Schema: publisher.Nullable(publisher.Int64)},
		{Name: "schema", Schema: publisher.Required(publisher.String)},
		{Name: "table", Schema: publisher.Required(publisher.String)},
		{Name: "txId", Schema: publisher.Nullable(publisher.Int64)},
		{Name: "lsn", Schema: publisher.Nullable(publisher.Int64)},
		{Name: "xmin", Schema: publisher.Nullable(publisher.Int64)},
		{Name: "origin", Schema: publisher.Nullable(publisher.String)},
		{Name: "origin_lsn", Schema: publisher.Nullable(publisher.Int64)},
	},
}

var blockSchema = &publisher.Schema{
	Type: publisher.Struct, Optional: true, Name: "event.block", Version: 1,
	Fields: []publisher.Field{
		{Name: "id", Schema: publisher.Required(publisher.String)},
		{Name: "total_order", Schema: publisher.Required(publisher.Int64)},
		{Name: "data_collection_order", Schema: publisher.Required(publisher.Int64)},
	},
}

var messageKeySchema = &publisher.Schema{
	Type: publisher.Struct, Name: "io.debezium.connector.postgresql.MessageKey", Version: 1,
	Fields: []publisher.Field{{Name: "prefix", Schema: publisher.Nullable(publisher.String)}},
}

// messageSchema describes the value of a logical message, whose content has the form of bytea.
func messageSchema(binary BinaryMode) *publisher.Schema {
	return &publisher.Schema{
		Type: publisher.Struct, Name: "io.debezium.connector.postgresql.MessageValue", Version: 1,
		Fields: []publisher.Field{
			{Name: "op", Schema: publisher.Required(publisher.String)},
			{Name: "ts_ms", Schema: publisher.Nullable(publisher.Int64)},
			{Name: "source", Schema: sourceSchema},
			{Name: "transaction", Schema: blockSchema},
			{Name: "message", Schema: &publisher.Schema{
				Type: publisher.Struct, Name: "io.debezium.connector.postgresql.Message", Version: 1,
				Fields: []publisher.Field{
					{Name: "prefix", Schema: publisher.Nullable(publisher.String)},
					{Name: "content", Schema: publisher.Nullable(binary.schemaType())},
				},
			}},
			{Name: "pgtee", Schema: publisher.PgteeSchema()},
		},
	}
}

var transactionKeySchema = &publisher.Schema{
	Type: publisher.Struct, Name: "io.debezium.connector.common.TransactionMetadataKey", Version: 1,
	Fields: []publisher.Field{{Name: "id", Schema: publisher.Required(publisher.String)}},
}

var transactionSchema = &publisher.Schema{
	Type: publisher.Struct, Name: "io.debezium.connector.common.TransactionMetadataValue", Version: 1,
	Fields: []publisher.Field{
		{Name: "status", Schema: publisher.Required(publisher.String)},
		{Name: "id", Schema: publisher.Required(publisher.String)},
		{Name: "event_count", Schema: publisher.Nullable(publisher.Int64)},
		{Name: "data_collections", Schema: &publisher.Schema{Type: publisher.Array, Optional: true, Items: &publisher.Schema{
			Type: publisher.Struct, Optional: true, Name: "event.collection", Version: 1,
			Fields: []publisher.Field{
				{Name: "data_collection", Schema: publisher.Required(publisher.String)},
				{Name: "event_count", Schema: publisher.Required(publisher.Int64)},
			},
		}}},
		{Name: "ts_ms", Schema: publisher.Required(publisher.Int64)},
	},
}
