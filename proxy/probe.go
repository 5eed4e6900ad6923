package proxy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox/note"
)

// None of these queries makes the server report an error if pgtee was never set up.
//
// They run in the client's session, but not with its settings: the defaults of its role may make a read wait for a safe snapshot, or set a timeout
// that no statement meets. Each query is sent as one Query message, and so is one transaction: its settings end with it.
const (
	ourTerms = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE;" +
		"SET LOCAL statement_timeout = 5000;SET LOCAL lock_timeout = 1000;"
	ourTerms17 = "SET LOCAL transaction_timeout = 0;" + ourTerms // setting known since PostgreSQL 17

	// askWhich identifies the database and its schema pgtee, because others may have had the same names before. If the process id is not that of
	// BackendKeyData, there is a pooler in between. Every session sends this query. It reads no catalog table, and so costs the server process a fifth
	// of askOwner. Another proxy recognises it: see isOfProxy.
	askWhich = "SELECT pg_catalog.format('%s %s %s',pg_catalog.pg_relation_filepath(1259),pg_catalog.to_regnamespace('pgtee')::pg_catalog.oid,pg_catalog.pg_backend_pid())" // 1259 is pg_class

	// askOwner reads only the catalog: no function of the schema may be called before its owner is known.
	askOwner = "SELECT pg_catalog.format('%s %s %s %s %s %s', f.oids, f.whole, " +
		"f.public AND pg_catalog.has_schema_privilege('public', f.oid, 'USAGE'), f.own AND pg_catalog.has_schema_privilege(f.oid, 'USAGE'), r.rolsuper, r.rolname) " +
		"FROM (SELECT n.oid, n.nspowner, pg_catalog.string_agg(p.oid::pg_catalog.text, ',' ORDER BY p.oid) AS oids, " +
		"pg_catalog.bool_and(p.proowner OPERATOR(pg_catalog.=) n.nspowner) AS whole, " +
		"pg_catalog.bool_and(pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')) AS public, " +
		"pg_catalog.bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')) AS own " +
		"FROM pg_catalog.pg_namespace AS n JOIN pg_catalog.pg_proc AS p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid " +
		"WHERE n.nspname OPERATOR(pg_catalog.=) 'pgtee' AND p.proname OPERATOR(pg_catalog.=) ANY ('{note,put,ready,sign}'::pg_catalog.name[]) " +
		"GROUP BY n.oid, n.nspowner HAVING pg_catalog.bool_and(p.prosecdef) AND pg_catalog.count(DISTINCT p.proname) OPERATOR(pg_catalog.=) 4" +
		") AS f JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) f.nspowner"
	askReady = "SELECT CASE WHEN pgtee.ready() OPERATOR(pg_catalog.>) 0 THEN (" +
		"SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')) " +
		"FROM pg_catalog.pg_proc AS p WHERE p.proname OPERATOR(pg_catalog.=) 'pg_logical_emit_message' " +
		"AND p.pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace) END"
)

// The client's statement_timeout applies until the query has set its own. On a busy machine, a timeout of a few milliseconds may expire before that: then
// the query is repeated, up to maxTries times within triesLast.
const (
	maxTries  = 10
	triesLast = time.Second
)

// pooledWarning is logged only once.
const pooledWarning = "--postgres names a pooler, not the server: notes cannot be verified (reason \"pooler\"); name the server itself, and put the pooler in front of pgtee"

// prepareNotes determines whether this session can have notes.
func (s *session) prepareNotes() error {
	p, t := s.proxy, s.terms
	pid := s.started.pid()
	if t.Outbox == OutboxOff || s.started.replication || pid == 0 {
		p.counters.unattributed.Add(1)
		return nil
	}
	s.database = &access{p.outboxes.last(s.started.server.Address, s.started.database), s.started.user, t.TrustedOwners, "", false}
	s.pending.ddl.free = func(words []string) { s.database.vocabulary.release(words, time.Now()) }
	s.notes = &notes{
		signer:         note.MasterKey(t.Key).Signer(p.id),
		table:          t.Outbox == OutboxTable,
		sqlText:        t.SQLText,
		perTransaction: t.Attribution == AttributionTransaction,
		proxy:          p.id,
		session:        note.NewSessionID(time.Now(), s.number),
		client:         s.from,
		pid:            pid,
		now:            time.Now,
		latest:         &s.latest,
	}
	problem, err := s.probe()
	if err != nil {
		return err
	}
	switch {
	case !s.database.mustLog(problem):
	case problem == nested:
		s.log.Warn(string(problem), zap.String("finding", "proxy-behind"), zap.String("server", s.started.server.Address))
	default:
		s.log.Warn(string(problem), zap.String("finding", "outbox-not-ready"), zap.String("database", s.started.database), zap.String("owner", s.database.owner))
	}
	if s.database.isReady() {
		return nil
	}
	if t.RequireOutbox {
		p.counters.refused.Add(1)
		return outboxError(s.started.database, problem, s.database.owner)
	}
	p.counters.unattributed.Add(1)
	return nil
}

// addressOf parses an address; it returns the zero value for a Unix socket.
func addressOf(remote string) netip.AddrPort {
	address, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.AddrPort{}
	}
	return address
}

// probe looks for the outbox in the database, and returns why there are no notes. Meanwhile the client waits for its first ReadyForQuery.
func (s *session) probe() (problem, error) {
	problem, err := s.findOutbox()
	if refused := refusal(""); errors.As(err, &refused) { // refused because of this client's settings or privileges, which says nothing about the outbox
		s.log.Warn("the query for the outbox was refused", zap.String("finding", "outbox-question-refused"), zap.String("sqlstate", string(refused)), zap.String("database", s.started.database))
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("probe the outbox of database %q: %w", s.started.database, err)
	}
	return problem, nil
}

func (s *session) findOutbox() (problem, error) {
	answer, err := s.ask(askWhich)
	if err != nil {
		return "", err
	}
	path, rest, _ := strings.Cut(string(answer), " ")
	oid, rest, _ := strings.Cut(rest, " ")
	pid, word, _ := strings.Cut(rest, " ")
	if pid != "" && pid != strconv.Itoa(int(s.notes.pid)) {
		s.notes.flags |= note.FlagPooled
		s.proxy.pooled.Do(func() {
			s.log.Warn(pooledWarning, zap.String("finding", "pooler-behind"), zap.String("server", s.started.server.Address))
		})
	}
	d := s.database
	d.database = s.proxy.outboxes.move(d.database, s.started.server.Address, s.started.database, placeOf(path))
	found, err := s.findSchema(oid)
	if err != nil {
		return "", err
	}
	mustAsk := d.observe(found, time.Now())
	switch {
	case word == nestedWord:
		return nested, nil
	case found == nil:
		return noOutbox, nil
	case !d.trusts(found):
		d.owner = found.owner
		return distrust, nil
	case d.barred:
		return barred, nil
	case mustAsk:
		if answer, err = s.ask(askReady); err != nil {
			return "", err
		}
		d.emits.Store(string(answer) == "t")
		d.set(found, answer != nil, time.Now())
	}
	if !d.isReady() { // a copy of a database that has an outbox
		return noOutbox, nil
	}
	return "", s.learnWords()
}

// findSchema returns schema pgtee, which has this OID, or nil if it is not one that pgtee created.
func (s *session) findSchema(oid string) (*schema, error) {
	d := s.database
	if oid == "" {
		return nil, nil
	}
	if seen, ok := d.recall(oid, time.Now()); ok {
		return seen, nil
	}
	answer, err := s.ask(askOwner)
	if err != nil {
		return nil, err
	}
	found, allowed := readSchema(answer)
	d.barred = found != nil && !allowed
	d.see(oid, found, time.Now())
	return found, nil
}

// refusal is the SQLSTATE of an error that the server returned instead of an answer.
type refusal string

func (r refusal) Error() string {
	return "the server refuses the query for the outbox: " + string(r)
}

// ask returns the server's answer to a query, run with the proxy's settings.
func (s *session) ask(question string) (value []byte, err error) {
	err = s.askFor(question, func(v []byte) { value = bytes.Clone(v) })
	return value, err
}

func (s *session) ourTerms() string {
	if s.pending.settings.Load().major >= 17 {
		return ourTerms17
	}
	return ourTerms
}

// askFor passes each value of the answer's only column to take; nil stands for NULL.
func (s *session) askFor(question string, take func(value []byte)) (err error) {
	terms := s.ourTerms()
	began := time.Now()
	for range maxTries {
		if err = s.askOnce(terms+question, take); err != refusal("57014") || time.Since(began) > triesLast {
			break
		}
	}
	return err
}

// askOnce runs a Query. The client sees nothing of it, but messages that do not belong to it pass.
func (s *session) askOnce(query string, take func(value []byte)) (refused error) {
	text := func(dst []byte) []byte { return append(append(dst, query...), 0) }
	if _, err := s.server.Write(appendMessage(nil, 'Q', text)); err != nil {
		return err
	}
	for {
		m, ok, err := s.down.message()
		if err != nil {
			return err
		}
		if !ok || !s.down.holds(m) {
			if err := s.down.flush(s.client); err != nil {
				return err
			}
			if err := s.down.read(s.server); err != nil {
				return err
			}
			continue
		}
		switch {
		case m.kind == 'S':
			s.recordParameter(m.body)
			s.down.pass(m)
		case m.kind == 'A', m.kind == 'E' && isFatal(m.body), m.kind == 'N' && isOfOperator(m.body):
			s.down.pass(m)
		case m.kind == 'E':
			refused = refusal(errorField(m.body, 'C'))
			s.down.drop(m)
		case m.kind == 'D':
			take(onlyValue(m.body))
			s.down.drop(m)
		default:
			s.down.drop(m)
		}
		if m.kind == 'Z' {
			return cmp.Or(s.down.flush(s.client), refused)
		}
	}
}

// isOfOperator reports whether a notice is about the session or the server, not about a statement: class 57 of the SQLSTATEs. Other notices appear
// because of settings that report what statements do, such as client_min_messages = log.
func isOfOperator(body []byte) bool { return bytes.HasPrefix(errorField(body, 'C'), []byte("57")) }

// onlyValue returns the single column of a DataRow as a slice of body, or nil if it is NULL.
func onlyValue(body []byte) []byte {
	if len(body) < 7 || body[2]&0x80 != 0 {
		return nil
	}
	return body[6:]
}
