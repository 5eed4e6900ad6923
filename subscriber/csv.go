package subscriber

import (
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
)

var (
	auditColumns = []string{"time", "database", "xid", "end_lsn", "user", "application", "client", "verified", "number", "command", "rows", "tables", "sql"}
	rowColumns   = []string{"time", "operation", "table", "key", "before", "after", "xid", "user", "application", "client", "verified", "command", "sql"}
)

// printCSV writes one line per statement of a transaction, or per row. A cell never begins with a character that a spreadsheet would interpret as a
// formula, because SQL and names are untrusted.
func (p *Printer) printCSV(e Event) error {
	lines, err := p.cells(e)
	if err != nil {
		return err
	}
	w := csv.NewWriter(&p.line)
	if p.Header {
		p.Header = false
		columns := rowColumns
		if p.Audit {
			columns = auditColumns
		}
		if err := w.Write(columns); err != nil {
			return err
		}
	}
	for _, line := range lines {
		for i, cell := range line {
			line[i] = harmless(cell)
		}
	}
	return w.WriteAll(lines)
}

func (p *Printer) cells(e Event) ([][]string, error) {
	if p.Audit {
		a, err := ParseAudit(e)
		return a.cells(), err
	}
	if e.Value == nil {
		return nil, nil // the tombstone after a delete contains nothing new
	}
	r, err := ParseRow(e)
	return r.cells(e), err
}

func (a Audit) cells() (lines [][]string) {
	begin := []string{a.CommitTime.UTC().Format(time.RFC3339Nano), a.Database, strconv.FormatUint(uint64(a.XID), 10), a.EndLSN}
	begin = append(append(begin, sessionCells(a.Session)...), verifiedCell(a.Verified))
	for _, s := range a.Statements {
		lines = append(lines, append(begin[:len(begin):len(begin)], strconv.FormatUint(uint64(s.Number), 10), s.Command, strconv.Itoa(s.Rows), strings.Join(s.Tables, " "), s.Text))
	}
	if a.DirectRows > 0 || len(a.Statements) == 0 {
		var tables []string
		for _, t := range a.Tables {
			tables = append(tables, t.Table)
		}
		lines = append(lines, append(begin[:len(begin):len(begin)], "", "", strconv.Itoa(a.DirectRows), strings.Join(tables, " "), ""))
	}
	return lines
}

func (r Row) cells(e Event) [][]string {
	line := []string{e.Time.UTC().Format(time.RFC3339Nano), r.Op, r.Source.Schema + "." + r.Source.Table, string(e.Key), value(r.Before), value(r.After), strconv.FormatUint(uint64(r.Source.XID), 10)}
	line = append(append(line, sessionCells(r.Pgtee.Session)...), verifiedCell(r.Pgtee.Verified))
	return [][]string{append(line, r.Pgtee.Statement.Command, r.Pgtee.Statement.Text)}
}

// value returns the value as text, which is empty for null.
func value(row json.RawMessage) string {
	if string(row) == "null" {
		return ""
	}
	return string(row)
}

func sessionCells(s *Session) []string {
	if s == nil {
		return []string{"", "", ""}
	}
	return []string{s.User, s.Application, s.Client}
}

func verifiedCell(verified *bool) string {
	if verified == nil {
		return ""
	}
	return strconv.FormatBool(*verified)
}

// harmless replaces characters that could control a terminal or the direction of a text, and prefixes an apostrophe to a cell that a spreadsheet would
// evaluate. Everything else is a value of the row and stays, whether it can be seen or not.
func harmless(cell string) string {
	cell = strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 { // embeddings, overrides and isolates
			return '·'
		}
		return r
	}, cell)
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
