package console

import (
	"net/url"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/subscriber"
)

// filter selects events. It is part of the URL, so that a link shows the same selection; it is applied on the server, so that it also finds events
// that no page has loaded.
type filter struct {
	User, Application, Client, Session, Table, Command, Text string
	Unattributed                                             bool // only transactions written, partly or completely, without the proxy
	Unverified                                               bool // only transactions that are not verified
}

// maxFilterBytes is the maximum length of each value of a filter.
const maxFilterBytes = 1024

func parseFilter(q url.Values) filter {
	value := func(name string) string {
		text := q.Get(name)
		return strings.ToValidUTF8(text[:min(len(text), maxFilterBytes)], "")
	}
	return filter{
		User: value("user"), Application: value("application"), Client: value("client"), Session: value("session"),
		Table: value("table"), Command: value("command"), Text: value("text"),
		Unattributed: q.Get("unattributed") != "", Unverified: q.Get("unverified") != "",
	}
}

// values returns the URL parameters that parseFilter reads.
func (f filter) values() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"user": f.User, "application": f.Application, "client": f.Client, "session": f.Session,
		"table": f.Table, "command": f.Command, "text": f.Text} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Unattributed {
		q.Set("unattributed", "1")
	}
	if f.Unverified {
		q.Set("unverified", "1")
	}
	return q
}

// Empty reports whether the filter selects everything.
func (f filter) Empty() bool { return f == filter{} }

// matches reports whether an event is selected. An event that cannot be read always is.
func (f filter) matches(e *event) bool {
	if e.Broken != "" || f.Empty() {
		return true
	}
	s := e.Session
	if s == nil {
		s = &subscriber.Session{}
	}
	address, _, _ := cutLast(s.Client, ":")
	switch {
	case f.User != "" && s.User != f.User && s.Actor != f.User,
		f.Application != "" && s.Application != f.Application,
		f.Client != "" && s.Client != f.Client && address != f.Client,
		f.Session != "" && s.ID != f.Session,
		f.Unattributed && !e.Direct(),
		f.Unverified && e.Trust() == "verified":
		return false
	}
	return f.matchesStatements(e)
}

func (f filter) matchesStatements(e *event) bool {
	return (f.Table == "" || f.wrote(e)) && (f.Command == "" || f.ran(e)) && (f.Text == "" || f.says(e))
}

// ran reports whether one of the transaction's statements has the command.
func (f filter) ran(e *event) bool {
	return slices.ContainsFunc(e.Statements, func(s subscriber.Statement) bool { return strings.EqualFold(s.Command, f.Command) })
}

// wrote reports whether the transaction wrote to the table. A name without a schema matches a table in any schema.
func (f filter) wrote(e *event) bool {
	for _, t := range e.Tables {
		if t.Table == f.Table || !strings.Contains(f.Table, ".") && strings.HasSuffix(t.Table, "."+f.Table) {
			return true
		}
	}
	return false
}

func (f filter) says(e *event) bool {
	text := strings.ToLower(f.Text)
	for _, s := range e.Statements {
		if strings.Contains(strings.ToLower(s.Text), text) {
			return true
		}
	}
	return false
}

func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}
