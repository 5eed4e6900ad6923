package proxy

import (
	"bytes"

	"github.com/pgtee/pgtee/parser"
)

// The text of a note holds the comments in front of and behind its statement: frameworks put trace contexts there.

// spliceAt returns where in a Query the note of a statement goes: in front of its comments, so that they stay with it for
// whoever cuts the Query at its semicolons (pg_stat_statements). pg_hint_plan wants its hints at the beginning of all.
func spliceAt(text []byte, st *parser.Statement) int {
	if bytes.Contains(text[st.From:st.Start], []byte("/*+")) {
		return st.Start
	}
	return st.From
}

// carriedText is the text of a note that brings it along, before it is cut. What stands behind the statement goes in front
// if it would be cut off.
func carriedText(text []byte, st *parser.Statement) []byte {
	if st.To-st.From <= noteSQLBytes || st.To == st.End {
		return text[st.From:st.To]
	}
	comments := bytes.TrimLeft(text[st.End:st.To], "; \t\n\r\f\v")
	return append(append(bytes.Clone(comments), '\n'), text[st.From:st.End]...)
}
