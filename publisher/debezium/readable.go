package debezium

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// Text that is not UTF-8 would change in a record, and two different keys could become one. A row with such text is therefore not published: it stops
// the publisher until an operator says which encoding the text has.

const repairText = "declare the encoding of the text: start with --source-encoding and the name that SHOW server_encoding prints or, where that is SQL_ASCII, " +
	"the actual encoding, such as LATIN1 or WIN1252 (UTF8 if most of the text is); bytes that are not characters in it become private use characters; nothing is skipped meanwhile"

// asciiTypes are the types whose values PostgreSQL prints in ASCII, and the type "char", whose bytes have an encoding of their own.
var asciiTypes = map[uint32]bool{
	oidBool: true, oidBytea: true, oidInt2: true, oidInt4: true, oidInt8: true, oidOID: true, oidFloat4: true, oidFloat8: true, oidNumeric: true,
	oidMoney: true, oidDate: true, oidTime: true, oidTimeTZ: true, oidTimestamp: true, oidTimestampTZ: true, oidInterval: true, oidUUID: true,
	oidBit: true, oidVarbit: true, oidPoint: true, oidLseg: true, oidPath: true, oidBox: true, oidPolygon: true, oidLine: true, oidCircle: true,
	oidChar: true, oidCharArray: true, 1005: true, 1007: true, 1016: true, // arrays of integers
}

// textual returns the columns whose text goes into records unchanged.
func (t *table) textual(shapes []shape.Column) (columns []int) {
	for i, c := range t.relation.Columns {
		mask := shapes[i].Mask
		if asciiTypes[c.Type] || mask != nil && mask.Kind() != shape.Truncate || t.columns[i].hidden && !slices.Contains(t.key, i) {
			continue
		}
		columns = append(columns, i)
	}
	return columns
}

// checkText returns an error if a row has text that is not UTF-8.
func (t *table) checkText(r *row) error {
	if !r.present {
		return nil
	}
	for _, i := range t.texts {
		if v := r.values[i]; v.kind == pgoutput.Text && !utf8.Valid(v.text) {
			return &halt.Halt{
				Reason: halt.ErrText,
				Detail: fmt.Sprintf("table %s.%s, column %s, row %s: %.100s", t.relation.Schema, t.relation.Name, t.relation.Columns[i].Name, t.rowName(r), outbox.QuoteText(v.text)),
				Repair: repairText,
			}
		}
	}
	return nil
}

// rowName identifies a row for an operator: by its key, or without a key by all known columns.
func (t *table) rowName(r *row) string {
	columns := t.key
	if columns == nil {
		for i := range r.values {
			columns = append(columns, i)
		}
	}
	var names []string
	for _, i := range columns {
		if v := r.values[i]; v.kind == pgoutput.Text {
			names = append(names, fmt.Sprintf("%s=%.100s", t.relation.Columns[i].Name, outbox.QuoteText(v.text)))
		}
	}
	return fmt.Sprintf("(%.400s)", strings.Join(names, ", "))
}

// checkNames returns an error if a name of a table is not UTF-8, since two topics or fields could become one.
func checkNames(r *pgoutput.Relation) error {
	names := []string{r.Schema, r.Name}
	for _, c := range r.Columns {
		names = append(names, c.Name)
	}
	for _, name := range names {
		if !utf8.ValidString(name) {
			return &halt.Halt{
				Reason: halt.ErrText,
				Detail: fmt.Sprintf("name %s of table %s.%s or of a column of it", outbox.QuoteText([]byte(name)), outbox.QuoteText([]byte(r.Schema)), outbox.QuoteText([]byte(r.Name))),
				Repair: repairText,
			}
		}
	}
	return nil
}

// charForms are the bytes from 0x80 on of the type "char" as PostgreSQL 16 and newer print them; older versions print the byte itself.
var charForms = func() (forms [128]string) {
	for i := range forms {
		forms[i] = fmt.Sprintf(`"\\%o"`, 0x80+i)
	}
	return forms
}()

// appendChar appends a value of type "char".
func appendChar(dst, text []byte) ([]byte, bool) {
	if len(text) == 1 && text[0] >= utf8.RuneSelf {
		return append(dst, charForms[text[0]-utf8.RuneSelf]...), true
	}
	return record.AppendJSONString(dst, text), true
}
