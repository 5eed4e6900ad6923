package proxy

import (
	"bytes"
	"fmt"
	"regexp"
)

// With a low client_min_messages a client also receives the server's LOG and DEBUG messages, such as auto_explain's plans. Those about notes are
// dropped.

// dropsNotice reports whether a NoticeResponse is about a note. Before the first reply to a Query, most notices are about the whole Query; these pass.
func (r *replies) dropsNotice(body []byte) bool {
	switch {
	case string(errorField(body, 'V')) == "WARNING": // that the server is shutting down, that transaction ids are running out
		return false
	case r.hidden():
		return r.behindOurs || !followsReply(body)
	case r.head.visibility == mute: // for a Query the server reports the duration once
		routine := string(errorField(body, 'R'))
		return routine == "exec_parse_message" || routine == "exec_bind_message"
	case r.head.kind != 'Q' || !r.isOurs():
		return false
	case r.head.splices[r.spliced].closes && isNoticeOrInfo(body): // from triggers that run at the commit after it
		return isPerStatement(body)
	}
	return !r.parsing() || isPerStatement(body)
}

// isNoticeOrInfo reports whether a notice has a level that functions raise.
func isNoticeOrInfo(body []byte) bool {
	severity := string(errorField(body, 'V'))
	return severity == "NOTICE" || severity == "INFO"
}

// followsReply reports whether the server sends this notice after the reply to the message that it is about: its duration (postgres.c,
// exec_parse_message and similar functions).
func followsReply(body []byte) bool {
	switch string(errorField(body, 'R')) {
	case "exec_parse_message", "exec_bind_message", "exec_execute_message":
		return string(errorField(body, 'V')) == "LOG"
	case "ShowUsage":
		return bytes.Contains(errorField(body, 'M'), []byte("MESSAGE STATISTICS"))
	}
	return false
}

// isPerStatement reports whether the server sends this notice for each statement of a Query, after parsing the text: debug_print_parse, log_parser_stats
// and similar settings (postgres.c, pg_rewrite_query and the functions around it), and pgaudit.
func isPerStatement(body []byte) bool {
	text := errorField(body, 'M')
	switch string(errorField(body, 'R')) {
	case "elog_node_display":
		return !bytes.HasPrefix(text, []byte("raw parse tree"))
	case "ShowUsage":
		return !bytes.HasPrefix(text, []byte("PARSER STATISTICS"))
	case "log_audit_event":
		return true
	}
	return false
}

// appendNotice appends a NoticeResponse without the notes in its texts: auto_explain and log_statement quote the Query. A position of 0 means that
// there is none.
func appendNotice(dst, body []byte, position int) []byte {
	if position > 0 {
		body = appendMoved(nil, 'N', body, position)[headerBytes:]
	}
	return appendError(dst, 'N', body, func(dst []byte, field byte, value []byte) []byte {
		dst = append(dst, field)
		switch field {
		case 'M', 'D', 'W':
			dst = appendWithoutNotes(dst, value)
		default:
			dst = append(dst, value...)
		}
		return append(dst, 0)
	})
}

// ourNote matches a note in the text of a Query, with the semicolons around it.
var ourNote = regexp.MustCompile(fmt.Sprintf(`SELECT pgtee\.(?:note|sign)\('[A-Za-z0-9+/=]{%d,}',current_user\);|`+
	`(\n?;)?/\*[A-Za-z0-9+/=]{%[1]d,}\*/;CALL pgtee\.put\('[0-9]+',current_user,(?:true|false),(?:true|false)\)(;)?`, payloadText))

// appendWithoutNotes appends a text, in which a Query is quoted, as the client sent it.
func appendWithoutNotes(dst, text []byte) []byte {
	done := 0
	for _, at := range ourNote.FindAllSubmatchIndex(text, -1) {
		dst = append(dst, text[done:at[0]]...)
		if done = at[1]; at[2] >= 0 && at[4] >= 0 { // the first semicolon is the client's
			dst = append(dst, text[at[2]:at[3]]...)
		}
	}
	return append(dst, text[done:]...)
}
