package proxy

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// schema describes schema pgtee as found in the catalog of a database. A value is never modified.
type schema struct {
	functions string // the OIDs of note(), put(), ready() and sign()
	owner     string // the role that owns them and the schema
	superuser bool   // whether that role is a superuser
	mixed     bool   // whether several roles own them
	public    bool   // whether everybody may call the functions
}

// readSchema parses the answer to askOwner: schema pgtee, nil if there is none, and whether the session's role may call its functions.
func readSchema(answer []byte) (found *schema, allowed bool) {
	fields := strings.SplitN(string(answer), " ", 6)
	if len(fields) < 6 {
		return nil, false
	}
	is := func(i int) bool { return fields[i] == "t" }
	return &schema{functions: fields[0], mixed: !is(1), public: is(2), superuser: is(4), owner: fields[5]}, is(3)
}

// access says what one session knows about a database's outbox and may do with it. A function that is called in the session can use the privileges of
// its role, and the owner of a database can create a schema pgtee in it. Functions of that schema are therefore called only if its owner is a superuser,
// the session's own role, or a role named in the proxy's configuration.
type access struct {
	*database
	user    string   // the role that has logged in
	trusted []string // roles trusted by the configuration
	owner   string   // owner of the schema that was found; for messages
	barred  bool     // the user lacks the privilege to call the functions
}

func (a *access) trusts(c *schema) bool {
	return !c.mixed && (c.superuser || c.owner == a.user || slices.Contains(a.trusted, c.owner))
}

// isReady reports whether the session can write notes. It may be called on nil.
func (a *access) isReady() bool {
	if a == nil || a.barred {
		return false
	}
	c := a.outbox.Load()
	return c != nil && a.trusts(c)
}

// finding is what the last look at the catalog means to one session.
type finding struct {
	owner   string // of schema pgtee; "": there is none, or nobody has looked since a note failed
	trusted bool   // its functions may be called
}

func (a *access) last() finding {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		return finding{}
	}
	return finding{a.seen.owner, !a.barred && a.trusts(a.seen)}
}

// catalogLasts is how long a result of the catalog query for a schema is considered valid.
const catalogLasts = 10 * time.Second

// absenceLasts is how long the answer of ready() that there is no outbox remains valid for the same schema.
const absenceLasts = 5 * time.Second

// database is what is known about the outbox of one database on one server. A database that is dropped and recreated under the same name, or renamed
// to the name of another one, is a different database.
type database struct {
	vocabulary vocabulary

	sessions int                    // number of those that use it; guarded by outboxes.mu
	place    string                 // its directory, which identifies it; "" until a session has asked
	outbox   atomic.Pointer[schema] // the schema to which notes can be written; nil: none, or unknown
	emits    atomic.Bool            // everybody may call pg_logical_emit_message()

	mu    sync.Mutex
	seen  *schema   // schema found in the catalog; nil: no schema of pgtee
	oid   string    // its OID
	when  time.Time // when it was last read
	asked time.Time // when ready() was last called
	of    schema    // the schema for which it was called
	told  problem   // the problem logged last
	doubt bool      // a note failed as if the outbox were missing: the next session asks
}

// placeOf returns the directory of a database from the path of a file in it.
func placeOf(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '/'))]
}

// problem says why sessions have no notes; "" if they have notes.
type problem string

const (
	noOutbox problem = "no outbox, or one of an older pgtee: writes are not attributed; run pgtee setup"
	distrust problem = "schema pgtee belongs to a role that is not trusted: its functions are not called, and writes are not attributed; " +
		"if that role ran pgtee setup, start the proxy with --trust-owner ROLE, else drop the schema"
	barred problem = "a role may not call the functions of schema pgtee: its writes are not attributed; run pgtee setup, which grants EXECUTE to PUBLIC"
	nested problem = "--postgres names another pgtee proxy, which writes the notes: the address of a client is then that of this proxy; name the server itself"
)

// maxKnown is the number of databases from which on those without sessions are forgotten.
const maxKnown = 100

// outboxes holds what is known about the databases.
type outboxes struct {
	mu     sync.Mutex
	byName map[string]*database
}

// last returns the database that had this name when a session last asked. The session must leave it.
func (o *outboxes) last(server, name string) *database {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.enterLocked(server, name, "")
}

// move returns the database at this place for a session that leaves d.
func (o *outboxes) move(d *database, server, name, place string) *database {
	o.mu.Lock()
	defer o.mu.Unlock()
	d.sessions--
	return o.enterLocked(server, name, place)
}

func (o *outboxes) leave(d *database) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d.sessions--
}

func (o *outboxes) enterLocked(server, name, place string) *database {
	key := server + "\x00" + name
	d := o.byName[key]
	switch {
	case o.byName == nil:
		o.byName = map[string]*database{}
		fallthrough
	case d == nil, d.place != "" && place != "" && d.place != place:
		if len(o.byName) >= maxKnown {
			maps.DeleteFunc(o.byName, func(_ string, d *database) bool { return d.sessions == 0 })
		}
		d = &database{place: place}
		o.byName[key] = d
	case d.place == "":
		d.place = place
	}
	d.sessions++
	return d
}

// recall returns what the catalog query showed for the schema with this OID, if it is recent and valid for every role.
func (d *database) recall(oid string, now time.Time) (seen *schema, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen, d.oid == oid && now.Sub(d.when) < catalogLasts && (d.seen == nil || d.seen.public)
}

// see records the result of the catalog query.
func (d *database) see(oid string, found *schema, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen, d.oid, d.when = found, oid, now
}

// observe records the schema that a starting session has found, nil for none, and reports whether ready() must be called. What was known about another
// schema becomes invalid, for older sessions as well.
func (d *database) observe(found *schema, now time.Time) (mustAsk bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.outbox.Load(); known != nil && found != nil && *known == *found {
		return d.doubt
	}
	d.outbox.Store(nil)
	if found == nil && d.seen != nil { // the schema is gone: see() was not called
		d.seen, d.oid = nil, ""
	}
	return found != nil && (d.of != *found || now.Sub(d.asked) > absenceLasts)
}

// set records the answer of ready(): whether notes can be written.
func (d *database) set(asked *schema, welcome bool, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of, d.asked, d.doubt = *asked, now, false
	if welcome {
		d.outbox.Store(asked)
		d.told = ""
	} else {
		d.outbox.Store(nil)
	}
}

// mustLog reports whether a problem must be logged: it is not the one logged last.
func (d *database) mustLog(p problem) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p == "" || p == d.told {
		return false
	}
	d.told = p
	return true
}

// suspect makes the next session ask whether the outbox is still there; until then, nothing changes.
func (d *database) suspect() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doubt = true
}

// forget makes the next session ask again, because a note failed for lack of the outbox. Until then no session calls a function of schema pgtee: whoever
// could create it may have.
func (d *database) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of, d.seen, d.oid = schema{}, nil, ""
	d.outbox.Store(nil)
}
