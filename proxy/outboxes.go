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
	public    bool   // everybody may call the functions
}

// readSchema reads the answer to askOwner: schema pgtee, nil if there is none, and whether the session's role may call its functions.
func readSchema(answer []byte) (found *schema, allowed bool) {
	fields := strings.SplitN(string(answer), " ", 6)
	if len(fields) < 6 {
		return nil, false
	}
	is := func(i int) bool { return fields[i] == "t" }
	return &schema{functions: fields[0], mixed: !is(1), public: is(2), superuser: is(4), owner: fields[5]}, is(3)
}

// access is what one session may know and do of a database's outbox. A function runs with the rights of whoever calls it, or
// may take them, and whoever owns a database can make a schema pgtee in it: so nothing of that is called unless its owner
// is a superuser, the role of the session itself, or named by the proxy's configuration.
type access struct {
	*database
	user    string   // who has logged in
	trusted []string // by the configuration
	owner   string   // of the schema that was found; for messages
	barred  bool     // the user may not call the functions
}

func (a *access) trusts(c *schema) bool {
	return !c.mixed && (c.superuser || c.owner == a.user || slices.Contains(a.trusted, c.owner))
}

// isReady reports whether notes are welcome. It may be called on nil.
func (a *access) isReady() bool {
	if a == nil || a.barred {
		return false
	}
	c := a.outbox.Load()
	return c != nil && a.trusts(c)
}

// catalogLasts is how long it is believed what the catalog shows of a schema.
const catalogLasts = 10 * time.Second

// absenceLasts is how long "no outbox" is believed of what the catalog shows before another session asks again.
const absenceLasts = 5 * time.Second

// database is what is known about the outbox of one database of one server. One that is dropped and made again under the same
// name, or gets another's name, is another database.
type database struct {
	vocabulary vocabulary

	place  string                 // of its catalog; "" until a session has been told
	outbox atomic.Pointer[schema] // where notes are welcome; nil: nowhere, or it is not known
	emits  atomic.Bool            // everybody may call pg_logical_emit_message()

	mu    sync.Mutex
	seen  *schema   // in the catalog; nil: nothing of ours
	oid   string    // ... of the schema
	when  time.Time // ... last
	asked time.Time // ready() was, last
	of    schema    // ... this one
	told  problem   // as it was logged last
}

// problem is why sessions have no notes; "" if they have.
type problem string

const (
	noOutbox problem = "no outbox, or one of an older pgtee: writes are not attributed; run pgtee setup"
	distrust problem = "schema pgtee belongs to a role that is not trusted: nothing of it is called, and writes are not attributed; " +
		"if that role ran pgtee setup, start the proxy with --trust-owner ROLE, else drop the schema"
	barred problem = "a role may not call the functions of schema pgtee: its writes are not attributed; run pgtee setup, which lets everybody"
)

// outboxes remembers the databases.
type outboxes struct {
	mu     sync.Mutex
	byName map[string]*database
}

// last returns the database that had this name when a session was told last.
func (o *outboxes) last(server, name string) *database { return o.database(server, name, "") }

// database returns the one at this place.
func (o *outboxes) database(server, name, place string) *database {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := server + "\x00" + name
	d := o.byName[key]
	switch {
	case o.byName == nil:
		o.byName = map[string]*database{}
		fallthrough
	case d == nil, d.place != "" && place != "" && d.place != place:
		d = &database{place: place}
		o.byName[key] = d
	case d.place == "":
		d.place = place
	}
	return d
}

// recall returns what the catalog has shown of the schema with this OID, if that is not long ago and true of everybody.
func (d *database) recall(oid string, now time.Time) (seen *schema, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen, d.oid == oid && now.Sub(d.when) < catalogLasts && (d.seen == nil || d.seen.public)
}

// see records what the catalog shows.
func (d *database) see(oid string, found *schema, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen, d.oid, d.when = found, oid, now
}

// meet is told what a session that starts finds, nil for nothing, and reports whether ready() has to be asked. What was
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
	d.of, d.oid = schema{}, ""
	d.outbox.Store(nil)
}
