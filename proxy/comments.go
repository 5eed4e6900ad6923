package proxy

import (
	"bytes"

	"github.com/pgtee/pgtee/parser"
)

// The text of a note includes the comments before and after its statement, because frameworks put trace contexts there.

// spliceAt returns where in a Query the note of a statement is inserted: before the statement's comments, so that they stay with it if the Query is
// split at its semicolons (pg_stat_statements). But it goes behind the hints of pg_hint_plan, which must be at the very beginning of the Query.
func spliceAt(text []byte, st *parser.Statement) int {
	if bytes.Contains(text[st.From:st.Start], []byte("/*+")) {
		return st.Start
	}
	return st.From
}

// carriedText returns the text that a note carries, before it is cut. Comments after the statement move to the front if they would be cut off.
func carriedText(text []byte, st *parser.Statement) []byte {
	if st.To-st.From <= noteSQLBytes || st.To == st.End {
		return text[st.From:st.To]
	}
	comments := bytes.TrimLeft(text[st.End:st.To], "; \t\n\r\f\v")
	return append(append(bytes.Clone(comments), '\n'), text[st.From:st.End]...)
}
