package proxy

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// schema is what the catalog of a database says of schema pgtee. A value is never changed.
type schema struct {
	functions string // the OIDs of note() and ready()
	owner     string // the role that they and the schema belong to
	superuser bool   // ... is one
	mixed     bool   // they belong to several roles
}

// readSchema reads the answer to askOwner; nil if there is none.
func readSchema(answer []byte) *schema {
	fields := strings.SplitN(string(answer), " ", 4)
	if len(fields) < 4 {
		return nil
	}
	return &schema{functions: fields[0], mixed: fields[1] != "t", superuser: fields[2] == "t", owner: fields[3]}
}

// access is what one session may know and do of a database's outbox. A function runs with the rights of whoever calls it, or
// may take them, and whoever owns a database can make a schema pgtee in it: so nothing of that is called unless its owner
// is a superuser, the role of the session itself, or named by the proxy's configuration.
type access struct {
	*database
	user    string   // who has logged in
	trusted []string // by the configuration
}

func (a *access) trusts(c *schema) bool {
	return !c.mixed && (c.superuser || c.owner == a.user || slices.Contains(a.trusted, c.owner))
}

// isReady reports whether notes are welcome. It may be called on nil.
func (a *access) isReady() bool {
	if a == nil {
		return false
	}
	c := a.outbox.Load()
	return c != nil && a.trusts(c)
}

// absenceLasts is how long "no outbox" is believed of what the catalog shows before another session asks again.
const absenceLasts = 5 * time.Second

// database is what is known about the outbox of one database of one server.
type database struct {
	outbox atomic.Pointer[schema] // where notes are welcome; nil: nowhere, or it is not known
	emits  atomic.Bool            // everybody may call pg_logical_emit_message()

	mu    sync.Mutex
	asked time.Time // ready() was, last
	of    schema    // ... this one
	told  problem   // as it was logged last
}

// problem is why sessions have no notes; "" if they have.
type problem string

const (
	noOutbox problem = "no outbox: writes are not attributed; run pgtee setup"
	distrust problem = "schema pgtee belongs to a role that is not trusted: nothing of it is called, and writes are not attributed; " +
		"if that role ran pgtee setup, start the proxy with --trust-owner ROLE, else drop the schema"
)

// outboxes remembers the databases.
type outboxes struct {
	mu     sync.Mutex
	byName map[string]*database
}

func (o *outboxes) database(server, name string) *database {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := server + "\x00" + name
	d := o.byName[key]
	if d == nil {
		if o.byName == nil {
			o.byName = map[string]*database{}
		}
		d = &database{}
		o.byName[key] = d
	}
	return d
}

// meet is told what the catalog shows to a session that starts, nil for nothing, and reports whether ready() has to be asked. What was
// known of anything else is void, for older sessions as well.
func (d *database) meet(found *schema, now time.Time) (mustAsk bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.outbox.Load(); known != nil && found != nil && *known == *found {
		return false
	}
	d.outbox.Store(nil)
	return found != nil && (d.of != *found || now.Sub(d.asked) > absenceLasts)
}

// set records the answer of ready(): whether notes are welcome.
func (d *database) set(asked *schema, welcome bool, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of, d.asked = *asked, now
	if welcome {
		d.outbox.Store(asked)
		d.told = ""
	}
}

// tells reports whether a problem is news.
func (d *database) tells(p problem) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p == "" || p == d.told {
		return false
	}
	d.told = p
	return true
}

// forget makes the next session ask again: a note has met a missing outbox.
func (d *database) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of = schema{}
	d.outbox.Store(nil)
}
