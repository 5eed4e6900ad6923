package publisher

import (
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/parser"
)

// redactedDDL is a DDL record as it may be published: without credentials, without the defaults of columns that readers may not see
// and, with SQL text off, without any default. hides says that it is of a table with such columns.
func (p *Publisher) redactedDDL(d outbox.DDLRecord) (clean outbox.DDLRecord, hides bool) {
	d.Objects = slices.Clone(d.Objects)
	for i := range d.Objects {
		o := &d.Objects[i]
		parts := identityParts(o.Name)
		if o.Type != "table" && o.Type != "table column" || len(parts) < 2 {
			continue
		}
		o.Columns = slices.Clone(o.Columns)
		for j := range o.Columns {
			c := &o.Columns[j]
			c.Default = p.redactedDefault(c, p.cfg.Shape.hides(parts[0], parts[1], c.Name))
		}
		hides = hides || p.cfg.Shape.hidesAny(parts[0], parts[1])
	}
	return d, hides
}

func (p *Publisher) redactedDefault(c *outbox.DDLColumn, hidden bool) string {
	switch {
	case c.Default == "" || hidden || p.cfg.SQLText == Off:
		return ""
	case parser.IsSecretName([]byte(c.Name)):
		return "'<redacted>'"
	}
	return string(redact(nil, []byte(c.Default)))
}

// identityParts splits what pg_identify_object() prints: public."My table".column.
func identityParts(identity string) (parts []string) {
	for rest := identity; rest != ""; {
		part, quoted := strings.CutPrefix(rest, `"`)
		if !quoted {
			part, rest, _ = strings.Cut(rest, ".")
			parts = append(parts, part)
			continue
		}
		end := 0
		for end < len(part) && (part[end] != '"' || strings.HasPrefix(part[end+1:], `"`)) {
			if part[end] == '"' {
				end++
			}
			end++
		}
		if end >= len(part) {
			return nil // no end: nothing that PostgreSQL prints
		}
		parts = append(parts, strings.ReplaceAll(part[:end], `""`, `"`))
		rest = strings.TrimPrefix(part[end+1:], ".")
	}
	return parts
}
