package record

// PgteeSchema describes the field "pgtee" of a record: the output of AppendPgtee, followed by the field "values". That maps a column
// ("after.price") to the text that PostgreSQL prints, null for NULL, if the column's Connect type cannot represent the value, or if the text looks like
// the placeholder for an unchanged value. The whole field "pgtee" may be null, so that readers of records without it are not affected.
func PgteeSchema() *Schema { return pgteeSchema }

var pgteeSchema = &Schema{
	Type: Struct, Optional: true, Name: "pgtee.Block", Version: 1, Sparse: true,
	Fields: []Field{
		{"session", sessionSchema},
		{"statement", statementSchema},
		{"context", &Schema{Type: Map, Optional: true, Keys: Required(String), Values: Required(String)}},
		{"via", Required(String)},
		{"verified", Nullable(Boolean)},
		{"reason", Nullable(String)},
		{"values", &Schema{Type: Map, Optional: true, Keys: Required(String), Values: Nullable(String)}},
	},
}

var sessionSchema = &Schema{
	Type: Struct, Optional: true, Name: "pgtee.Session", Version: 1, Sparse: true,
	Fields: []Field{
		{"id", Required(String)},
		{"user", Required(String)},
		{"role", Required(String)},
		{"application", Required(String)},
		{"client", Nullable(String)},
		{"pid", Required(Int32)},
		{"start", Required(String)},
		{"proxy", Required(Int64)},
		{"actor", Nullable(String)},
	},
}

var statementSchema = &Schema{
	Type: Struct, Optional: true, Name: "pgtee.Statement", Version: 1,
	Fields: []Field{
		{"number", Required(Int64)},
		{"command", Required(String)},
		{"fingerprint", Required(String)},
		{"text", Nullable(String)},
		{"text_cut", Required(Boolean)},
		{"rows", Nullable(Int64)},
	},
}
