package proxy

// If the server of a proxy is another pgtee proxy, both would write notes. The inner one would take those of the outer one for calls of a client, and move
// the SQL to which they point. Therefore only the inner proxy, which is next to the server, writes notes: it recognises the first query of the outer one,
// and the answer is that there is no outbox. A client that sends this query gains nothing by it.

// askNested replaces askWhich in the query of another proxy. It names no schema, and has one word more. Its answer has the same form otherwise, so that
// a proxy which does not know that word finds no outbox.
const (
	askNested  = "SELECT pg_catalog.format('%s  %s " + nestedWord + "',pg_catalog.pg_relation_filepath(1259),pg_catalog.pg_backend_pid())"
	nestedWord = "pgtee"
)

// isOfProxy reports whether a text is the first query that a proxy sends.
func isOfProxy(text []byte) bool {
	return string(text) == ourTerms+askWhich || string(text) == ourTerms17+askWhich
}

// answerProxy handles that query.
func (s *session) answerProxy(m message, text []byte, e entry, set *settings) error {
	if err := s.noteImplicitEnd(set); err != nil {
		return err
	}
	if err := s.send(e, func(dst []byte) []byte {
		return append(append(append(dst, text[:len(text)-len(askWhich)]...), askNested...), 0)
	}); err != nil {
		return err
	}
	s.up.replaced(m)
	return nil
}
