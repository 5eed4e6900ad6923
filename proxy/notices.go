package proxy

import "bytes"

// A client that requests them (client_min_messages) receives the server's LOG and DEBUG messages, including auto_explain's plans, but not those about
// notes.

// dropsNotice reports whether a NoticeResponse is about a note. Most notices that the server sends before the reply to a Query's first statement are
// about the Query as a whole.
func (r *replies) dropsNotice(body []byte) bool {
	switch {
	case string(errorField(body, 'V')) == "WARNING": // that the server is shutting down, that transaction ids are running out
		return false
	case r.hidden():
		return r.behindOurs || !trailsReply(body)
	case r.head.visibility == mute: // for a Query the server reports the duration once
		routine := string(errorField(body, 'R'))
		return routine == "exec_parse_message" || routine == "exec_bind_message"
	case r.head.kind != 'Q' || !r.isOurs():
		return false
	case r.head.splices[r.spliced].closes && isForClients(body): // from triggers that run at the commit after it
		return tellsOfOne(body)
	}
	return !r.parsing() || tellsOfOne(body)
}

// isForClients reports whether a notice has a level that functions raise.
func isForClients(body []byte) bool {
	severity := string(errorField(body, 'V'))
	return severity == "NOTICE" || severity == "INFO"
}

// trailsReply reports whether the server sends this notice after the reply to the message that it is about: its duration (postgres.c,
// exec_parse_message and similar functions).
func trailsReply(body []byte) bool {
	switch string(errorField(body, 'R')) {
	case "exec_parse_message", "exec_bind_message", "exec_execute_message":
		return string(errorField(body, 'V')) == "LOG"
	case "ShowUsage":
		return bytes.Contains(errorField(body, 'M'), []byte("MESSAGE STATISTICS"))
	}
	return false
}

// tellsOfOne reports whether the server sends this notice for each statement of a Query, after parsing the text: debug_print_parse, log_parser_stats
// and similar settings (postgres.c, pg_rewrite_query and the functions around it), and pgaudit.
func tellsOfOne(body []byte) bool {
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

// appendWithoutNotes appends a text, in which a Query is quoted, as the client sent it.
func appendWithoutNotes(dst, text []byte) []byte {
	for {
		before, call, after, found := cutCall(text)
		dst = append(dst, before...)
		if !found {
			return dst
		}
		note, rest, _ := bytes.Cut(after, []byte("'"))
		last, trails := bytes.CutPrefix(rest, []byte(trailAfter[1:]))
		_, follows := bytes.CutPrefix(rest, []byte(spliceAfter[1:]))
		switch isNote := len(note) >= payloadText && len(bytes.Trim(note, base64Digits)) == 0; {
		case isNote && follows:
			text = rest[len(spliceAfter)-1:]
		case isNote && trails && bytes.HasPrefix(last, []byte(";")):
			text = last[1:]
		case isNote && trails: // behind a statement: the semicolon is the proxy's
			dst, text = bytes.TrimSuffix(bytes.TrimSuffix(dst, []byte(";")), []byte("\n")), last
		default:
			dst, text = append(dst, call...), after
		}
	}
}

// cutCall splits a text at its first call for a note.
func cutCall(text []byte) (before, call, after []byte, found bool) {
	const common = len("SELECT pgtee.")
	for at := 0; ; at++ {
		next := bytes.Index(text[at:], []byte(spliceNote[:common]))
		if next < 0 {
			return text, nil, nil, false
		}
		at += next
		for _, call := range []string{spliceNote, spliceSign} {
			if after, found := bytes.CutPrefix(text[at:], []byte(call)); found {
				return text[:at], text[at : at+len(call)], after, true
			}
		}
	}
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
