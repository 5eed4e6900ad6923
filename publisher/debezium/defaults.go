package debezium

import (
	"regexp"
	"strings"

	"github.com/pgtee/pgtee/publisher/record"
)

// defaultForm reads a column default (text of pg_get_expr) as Debezium's PostgresDefaultValueConverter does. It returns PostgreSQL's text of the
// value that becomes the default of the column's schema, and false if there is none.
type defaultForm func(expression string) (text string, ok bool)

// defaultForms has the built-in types whose defaults Debezium reads. The result of a function is not known in advance; the schema has a fixed value
// in its place.
var defaultForms = map[uint32]defaultForm{
	oidBool:        boolDefault,
	oidInt2:        constant("0"),
	oidInt4:        constant("0"),
	oidInt8:        constant("0"),
	oidFloat4:      constant("0.0"),
	oidFloat8:      constant("0.0"),
	oidNumeric:     constant("0.0"),
	oidText:        constant(""),
	oidBPChar:      constant(""),
	oidVarchar:     constant(""),
	oidJSON:        constant("{}"),
	oidJSONB:       constant("{}"),
	oidXML:         constant(""),
	oidUUID:        constant("00000000-0000-0000-0000-000000000000"),
	oidDate:        constant("1970-01-01"),
	oidTime:        constant("00:00:00"),
	oidTimestamp:   constant("1970-01-01 00:00:00"),
	oidTimestampTZ: constant("1970-01-01 00:00:00+00"),
	oidInterval:    constant("00:00:00"),
	oidBit:         constant("0"),
	oidVarbit:      constant("0"),
}

var (
	functionCall = regexp.MustCompile(`^\(?[A-Za-z0-9_.]+\(.*\)`)
	quotedText   = regexp.MustCompile(`'([^']*(?:''[^']*)*)'`)
)

// defaultOf returns a column's default as JSON, nil if its schema has none. Kafka Connect allows no struct as default.
func (f *codec) defaultOf(expression string) []byte {
	if expression == "" || f.defaults == nil || f.schema.Type == record.Struct {
		return nil
	}
	text, ok := f.defaults(expression)
	if !ok {
		return nil
	}
	if value, ok := f.append(nil, []byte(text)); ok {
		return value
	}
	return nil
}

// generated reports whether an expression calls a function or reads the clock.
func generated(expression string) bool {
	switch strings.ToLower(strings.TrimSpace(expression)) {
	case "current_timestamp", "current_time", "current_date", "localtime", "localtimestamp":
		return true
	}
	return functionCall.MatchString(expression)
}

// constant returns a defaultForm that reads a constant, and returns computed for the result of a function.
func constant(computed string) defaultForm {
	return func(expression string) (string, bool) {
		if generated(expression) {
			return computed, true
		}
		return literal(expression)
	}
}

// literal returns the first quoted constant of an expression ('x'::text), or the expression itself (42).
func literal(expression string) (string, bool) {
	if found := quotedText.FindStringSubmatch(expression); found != nil {
		return strings.ReplaceAll(found[1], "''", "'"), true
	}
	return expression, !strings.HasPrefix(expression, "NULL::")
}

// boolDefault treats everything but true as false.
func boolDefault(expression string) (string, bool) {
	text, ok := literal(expression)
	if !generated(expression) && strings.EqualFold(text, "true") {
		return "t", ok
	}
	return "f", ok
}

// enumDefault accepts only 'label'::schema.type.
func enumDefault(expression string) (string, bool) {
	cast := strings.LastIndex(expression, "::")
	if cast < 2 || expression[0] != '\'' || expression[cast-1] != '\'' {
		return "", false
	}
	return strings.ReplaceAll(expression[1:cast-1], "''", "'"), true
}
