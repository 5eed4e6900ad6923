package subscriber

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Printer writes events in readable form, or as JSON lines. It is used by one goroutine at a time.
type Printer struct {
	Out   io.Writer
	JSON  bool // one JSON object per event and line
	CSV   bool // RFC 4180
	Color bool // for terminals; not with JSON or CSV
	Audit bool // the events are audit records, not rows

	Header bool // the CSV header must precede the next event

	line bytes.Buffer
}

const (
	maxSQL        = 120 // characters of a statement per line
	maxStatements = 8   // lines per transaction
)

// Print writes one event.
func (p *Printer) Print(e Event) error {
	p.line.Reset()
	var err error
	switch {
	case p.JSON:
		err = p.printJSON(e)
	case p.CSV:
		err = p.printCSV(e)
	case p.Audit:
		err = p.printAudit(e)
	default:
		err = p.printRow(e)
	}
	if err != nil {
		return err
	}
	_, err = p.Out.Write(p.line.Bytes())
	return err
}

func (p *Printer) printJSON(e Event) error {
	encoder := json.NewEncoder(&p.line)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(struct {
		Topic     string    `json:"topic"`
		Partition int32     `json:"partition"`
		Offset    int64     `json:"offset"`
		Time      time.Time `json:"time"`
		ID        string    `json:"id"`
		Key       any       `json:"key"`
		Value     any       `json:"value"`
	}{e.Topic, e.Partition, e.Offset, e.Time.UTC(), e.ID, embedded(e.Key), embedded(e.Value)})
}

// embedded returns a JSON object as it is, and anything else as a string, because a session id may look like a number.
func embedded(text []byte) any {
	if text == nil {
		return nil
	}
	if bytes.HasPrefix(text, []byte("{")) && json.Valid(text) {
		return json.RawMessage(text)
	}
	return string(text)
}

// printAudit writes one line per statement; only the first one names the author.
//
//	12:00:01.234 alice  webshop  127.0.0.1:51234  1 orders  INSERT INTO orders …
func (p *Printer) printAudit(e Event) error {
	a, err := ParseAudit(e)
	if err != nil {
		return err
	}
	who := who(a.Session, a.Verified)
	shown := a.Statements[:min(len(a.Statements), maxStatements)]
	for i, s := range shown {
		p.audited(a.CommitTime, who, i == 0, s.Rows, s.Tables, shorten(s.describe()))
	}
	if more := len(a.Statements) - len(shown) + a.Omitted; more > 0 {
		fmt.Fprintf(&p.line, "%12s … and %d more statements\n", "", more)
	}
	if a.DirectRows > 0 || len(a.Statements) == 0 {
		var tables []string
		for _, t := range a.Tables {
			tables = append(tables, t.Table)
		}
		p.audited(a.CommitTime, who, len(a.Statements) == 0, a.DirectRows, tables, p.paint(red, "written past the proxy"))
	}
	return nil
}

func (p *Printer) audited(at time.Time, who string, first bool, rows int, tables []string, what string) {
	when := at.Local().Format("15:04:05.000")
	if !first {
		when, who = strings.Repeat(" ", len(when)), strings.Repeat(" ", utf8.RuneCountInString(who))
	}
	for i, table := range tables {
		tables[i] = clean(strings.TrimPrefix(table, "public."))
	}
	fmt.Fprintf(&p.line, "%s %s %s %s\n", p.paint(dim, when), p.paint(bold, who),
		p.paint(green, fmt.Sprintf("%3d %-22s", rows, strings.Join(tables, ","))), what)
}

// printRow writes one line: time, operation, table, row, author.
func (p *Printer) printRow(e Event) error {
	if e.Value == nil {
		return nil // the tombstone after a delete contains nothing new
	}
	r, err := ParseRow(e)
	if err != nil {
		return err
	}
	operation := map[string]string{"c": "insert", "u": "update", "d": "delete", "r": "read", "t": "truncate"}[r.Op]
	row := clean(string(r.After))
	switch {
	case r.Op == "d":
		row = clean(string(r.Before))
	case r.Op == "u" && len(r.Before) > 0:
		row = p.difference(r.Before, r.After)
	}
	fmt.Fprintf(&p.line, "%s %s %s %s %s\n", p.paint(dim, e.Time.Local().Format("15:04:05.000")),
		p.paint(green, fmt.Sprintf("%-8s", operation)), clean(r.Source.Schema+"."+r.Source.Table),
		row, p.paint(bold, strings.TrimRight(who(r.Pgtee.Session, r.Pgtee.Verified), " ")))
	return nil
}

// who returns user, application and client in columns: user! if the note is false, user? if that is not known.
func who(s *Session, verified *bool) string {
	if s == nil {
		return fmt.Sprintf("%-10s %-14s %-21s", "(direct)", "", "")
	}
	user := s.User
	switch {
	case verified == nil:
		user += "?"
	case !*verified:
		user += "!"
	}
	return fmt.Sprintf("%-10s %-14s %-21s", clean(user), clean(s.Application), clean(s.Client))
}

// describe returns the SQL, or what is known about the statement if SQL text is off.
func (s Statement) describe() string {
	if s.Text != "" {
		return s.Text
	}
	return strings.TrimSpace(s.Command + " (fingerprint " + s.Fingerprint + ")")
}

// shorten returns SQL on one line of limited length.
func shorten(sql string) string {
	sql = clean(strings.Join(strings.Fields(sql), " "))
	if runes := []rune(sql); len(runes) > maxSQL {
		return string(runes[:maxSQL-1]) + "…"
	}
	return sql
}

// clean removes characters that could control a terminal, because the text is untrusted.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, text)
}

// Text attributes and colours of ECMA-48 terminals.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (p *Printer) paint(colour, text string) string {
	if !p.Color || strings.TrimSpace(text) == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
