package subscriber

import (
	"net/netip"
	"slices"
	"strings"
)

// Choice selects transactions of the audit stream, or rows, by author and kind. An empty field selects everything.
type Choice struct {
	User        string
	Application string
	Client      string // address, address:port, or a network such as 10.1.0.0/16
	Table       string // SCHEMA.TABLE; TABLE means public.TABLE
	Command     string // of a statement, such as DELETE
}

// IsAny reports whether everything is selected.
func (c Choice) IsAny() bool { return c == Choice{} }

// Audit reports whether a transaction is selected. If the statements are known, command and table must be those of the same statement.
func (c Choice) Audit(a *Audit) bool {
	if !c.session(a.Session) {
		return false
	}
	if c.Command != "" {
		return slices.ContainsFunc(a.Statements, func(s Statement) bool {
			return strings.EqualFold(s.Command, c.Command) && (c.Table == "" || slices.ContainsFunc(s.Tables, c.isTable))
		})
	}
	for _, t := range a.Tables {
		if c.isTable(t.Table) {
			return true
		}
	}
	return c.Table == ""
}

// Row reports whether a change is selected.
func (c Choice) Row(r *Row) bool {
	return c.session(r.Pgtee.Session) && (c.Command == "" || strings.EqualFold(r.Pgtee.Statement.Command, c.Command)) &&
		(c.Table == "" || c.isTable(r.Source.Schema+"."+r.Source.Table))
}

func (c Choice) session(s *Session) bool {
	if s == nil {
		return c.User == "" && c.Application == "" && c.Client == ""
	}
	return (c.User == "" || s.User == c.User) && (c.Application == "" || s.Application == c.Application) && (c.Client == "" || c.isClient(s.Client))
}

func (c Choice) isTable(name string) bool {
	return name == c.Table || !strings.Contains(c.Table, ".") && name == "public."+c.Table
}

// isClient reports whether a client, which is address:port, matches the selected one.
func (c Choice) isClient(client string) bool {
	if client == c.Client {
		return true
	}
	at, err := netip.ParseAddrPort(client)
	if err != nil {
		return false
	}
	if network, err := netip.ParsePrefix(c.Client); err == nil {
		return network.Contains(at.Addr())
	}
	address, err := netip.ParseAddr(c.Client)
	return err == nil && address.Unmap() == at.Addr().Unmap()
}
