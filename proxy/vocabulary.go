package proxy

import (
	"bytes"
	"maps"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgtee/pgtee/parser"
)

// A query's text does not show everything that the query calls: views, policies, operators, casts and domains have functions of their own, which may
// write. The proxy therefore reads from the catalog the names of those that may, and a query that contains one of these words gets a note.

// askWords lists the names of functions that may write, and of objects that depend on one, each prefixed with w; with f instead if the function never
// runs while a statement is parsed or planned, and with r if only the row type of a table depends on one. C functions that are not volatile cannot
// write. Further rows: t if there are functions for triggers; d if a user-defined trigger may wait for the commit, or a function may declare a cursor
// WITH HOLD; o if a function may make its transaction read-only; b if a domain may call such a function, because its CHECK runs when a parameter is bound; a if something without a name may call one: an
// implicit cast, or a cast to a type with several names; x if an assignment cast may call one, because only the arguments of EXECUTE are cast so.
//
// The numbers are the OIDs of catalogs: pg_type 1247, pg_proc 1255, pg_class 1259, pg_cast 2605, pg_constraint 2606, pg_operator 2617, pg_rewrite
// 2618, pg_policy 3256; and of the types trigger and event_trigger.
//
// Built-in functions do not appear in pg_depend. Those that may write (builtIn) are found in the trees of views, policies and domains, and
// in operators and aggregates.
const askWords = `WITH RECURSIVE unsure (class, object) AS (
SELECT 1255::pg_catalog.oid, p.oid FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND (n.nspname OPERATOR(pg_catalog.<>) 'pgtee' OR p.proname OPERATOR(pg_catalog.=) 'publish')
AND NOT (l.lanname OPERATOR(pg_catalog.=) ANY ('{c,internal}'::pg_catalog.name[]) AND p.provolatile OPERATOR(pg_catalog.<>) 'v')
AND p.prorettype OPERATOR(pg_catalog.<>) ALL ('{2279,3838}'::pg_catalog.oid[])
UNION ALL SELECT 1259, r.ev_class FROM pg_catalog.pg_rewrite AS r WHERE r.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND r.ev_type OPERATOR(pg_catalog.=) '1'
AND r.ev_action::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (` + builtIn + `) '
UNION ALL SELECT 1259, p.polrelid FROM pg_catalog.pg_policy AS p
WHERE pg_catalog.concat(p.polqual, p.polwithcheck) OPERATOR(pg_catalog.~) ':funcid (` + builtIn + `) '
UNION ALL SELECT 1247, c.contypid FROM pg_catalog.pg_constraint AS c WHERE c.contypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
AND c.conbin::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (` + builtIn + `) '
UNION ALL SELECT 2617, o.oid FROM pg_catalog.pg_operator AS o WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
AND o.oprcode::pg_catalog.oid OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array('` + builtIn + `', '|')::pg_catalog.oid[])
UNION ALL SELECT 1255, a.aggfnoid FROM pg_catalog.pg_aggregate AS a WHERE a.aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
AND ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::pg_catalog.oid[]
OPERATOR(pg_catalog.&&) pg_catalog.string_to_array('` + builtIn + `', '|')::pg_catalog.oid[]
UNION SELECT m.class, m.object FROM unsure AS u
JOIN pg_catalog.pg_depend AS d ON d.refclassid OPERATOR(pg_catalog.=) u.class AND d.refobjid OPERATOR(pg_catalog.=) u.object
CROSS JOIN LATERAL (
SELECT 1259::pg_catalog.oid, r.ev_class FROM pg_catalog.pg_rewrite AS r
WHERE d.classid OPERATOR(pg_catalog.=) 2618::pg_catalog.oid AND r.oid OPERATOR(pg_catalog.=) d.objid AND r.ev_type OPERATOR(pg_catalog.=) '1'
UNION ALL SELECT 1259, p.polrelid FROM pg_catalog.pg_policy AS p WHERE d.classid OPERATOR(pg_catalog.=) 3256::pg_catalog.oid AND p.oid OPERATOR(pg_catalog.=) d.objid
UNION ALL SELECT 1247, c.casttarget FROM pg_catalog.pg_cast AS c WHERE d.classid OPERATOR(pg_catalog.=) 2605::pg_catalog.oid AND c.oid OPERATOR(pg_catalog.=) d.objid
UNION ALL SELECT 1247, c.contypid FROM pg_catalog.pg_constraint AS c WHERE d.classid OPERATOR(pg_catalog.=) 2606::pg_catalog.oid AND c.oid OPERATOR(pg_catalog.=) d.objid
AND c.contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
UNION ALL SELECT 1247, c.reltype FROM pg_catalog.pg_class AS c WHERE d.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND c.oid OPERATOR(pg_catalog.=) d.objid
AND d.refclassid OPERATOR(pg_catalog.=) 1247::pg_catalog.oid AND c.reltype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
UNION ALL SELECT d.classid, d.objid WHERE d.classid OPERATOR(pg_catalog.=) ANY ('{1247,1255,2617}'::pg_catalog.oid[])
) AS m (class, object))
SELECT pg_catalog.concat(CASE WHEN p.provolatile OPERATOR(pg_catalog.=) 'v'
AND (l.lanname OPERATOR(pg_catalog.<>) 'sql' OR p.prosrc OPERATOR(pg_catalog.~*) '^[[:space:]]*(insert|update|delete|merge)') THEN 'f' ELSE 'w' END, p.proname)
FROM unsure AS u JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) u.object
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang
WHERE u.class OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND n.nspname OPERATOR(pg_catalog.<>) 'pgtee'
UNION SELECT pg_catalog.concat('w', c.relname) FROM unsure AS u JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) u.object
WHERE u.class OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
UNION SELECT pg_catalog.concat(CASE WHEN c.relkind OPERATOR(pg_catalog.<>) 'c' THEN 'r' ELSE 'w' END, t.typname) FROM unsure AS u
JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) u.object LEFT JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.typrelid
WHERE u.class OPERATOR(pg_catalog.=) 1247::pg_catalog.oid
UNION SELECT pg_catalog.concat('w', o.oprname) FROM unsure AS u JOIN pg_catalog.pg_operator AS o ON o.oid OPERATOR(pg_catalog.=) u.object
WHERE u.class OPERATOR(pg_catalog.=) 2617::pg_catalog.oid
UNION ALL SELECT 't' WHERE EXISTS (SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND n.nspname OPERATOR(pg_catalog.<>) 'pgtee'
AND l.lanname OPERATOR(pg_catalog.<>) ALL ('{c,internal}'::pg_catalog.name[]) AND p.prorettype OPERATOR(pg_catalog.=) ANY ('{2279,3838}'::pg_catalog.oid[]))
UNION ALL SELECT 'd' WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgdeferrable AND NOT t.tgisinternal) OR EXISTS (
SELECT FROM pg_catalog.pg_proc AS p WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.prosrc OPERATOR(pg_catalog.~*) 'with[[:space:]]+hold')
UNION ALL SELECT 'o' WHERE EXISTS (
SELECT FROM pg_catalog.pg_proc AS p WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.prosrc OPERATOR(pg_catalog.~*) '` + readsOnly + `'
AND p.pronamespace OPERATOR(pg_catalog.<>) ALL (ARRAY(SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) 'pgtee')))
UNION ALL SELECT 'b' WHERE EXISTS (SELECT FROM pg_catalog.pg_type AS t JOIN unsure AS u ON u.object OPERATOR(pg_catalog.=) t.oid AND u.class OPERATOR(pg_catalog.=) 1247::pg_catalog.oid
WHERE t.typtype OPERATOR(pg_catalog.=) 'd')
UNION ALL SELECT 'a' WHERE EXISTS (SELECT FROM pg_catalog.pg_cast AS c JOIN unsure AS u ON u.object OPERATOR(pg_catalog.=) c.castfunc AND u.class OPERATOR(pg_catalog.=) 1255::pg_catalog.oid
WHERE c.castcontext OPERATOR(pg_catalog.=) 'i' OR c.casttarget OPERATOR(pg_catalog.<) 16384::pg_catalog.oid)
UNION ALL SELECT 'x' WHERE EXISTS (SELECT FROM pg_catalog.pg_cast AS c JOIN unsure AS u ON u.object OPERATOR(pg_catalog.=) c.castfunc AND u.class OPERATOR(pg_catalog.=) 1255::pg_catalog.oid
WHERE c.castcontext OPERATOR(pg_catalog.=) 'a')`

// readsOnly matches the text of a function that makes its transaction read-only, in the regular expressions of PostgreSQL and of Go.
const readsOnly = "transaction_read_only|read[[:space:]]+only"

var restricts = regexp.MustCompile("(?i)" + readsOnly)

// builtIn are the OIDs of functions of pg_catalog that run SQL given as text, read a value of a type given as text, or change what the server does with
// notes: set_config, table_to_xml and its kin, ts_rewrite, ts_stat, pg_extension_config_dump, pg_logical_emit_message, pg_input_is_valid, pg_input_error_info,
// jsonb_populate_record and its kin.
const builtIn = "2078|2923|2924|2925|2927|2928|2929|2930|2933|2935|2936|2938|3685|3689|3690|3086|3577|3578|6210|6211|3209|3475|3960|3961|6338"

const (
	wordsLast    = time.Minute      // after this time a starting session queries the catalog again
	wordsShare   = 100              // but not before this many times the duration of the previous query has passed
	doubtsLast   = 10 * time.Second // replaces wordsLast if DDL has passed through the proxy
	maxWords     = 200_000
	maxDoubtful  = 4096
	everyWord    = "*" // in words: every query may write
	deferredWord = "(" // in words: a trigger may wait for the commit, or a function declare a cursor WITH HOLD
	readOnlyWord = "{" // in words: a function may make its transaction read-only
	boundWord    = ")" // in words: binding a parameter may write
	assignedWord = "]" // in words from the catalog: the cast of an argument of EXECUTE may write
	triggerWord  = "[" // in words from the catalog: a write may run a function
	rowType      = ":" // in words: in front of a table's name, which counts only as that of a type
	earlyWord    = ";" // in words from the catalog: in front of what may run while a statement is parsed or planned
)

// vocabulary is what the proxy knows about the words of one database. It is safe for concurrent use.
type vocabulary struct {
	known atomic.Pointer[map[string]struct{}] // words from the catalog; nil until a session has read them
	fresh atomic.Pointer[map[string]struct{}] // words in DDL since then: something that may write may have this name by now
	fires atomic.Bool                         // the catalog has functions for triggers

	mu      sync.Mutex
	asked   time.Time
	took    time.Duration
	learnt  time.Time        // when the catalog was queried for the known words
	doubted map[string]doubt // the words in fresh
}

// doubt describes a word in DDL.
type doubt struct {
	holders int // sessions whose transaction with that DDL may still be open
	last    time.Time
}

// isOver reports whether the DDL had ended, as far as the proxy knows, at least a second before the catalog was queried.
func (d doubt) isOver(asked time.Time) bool {
	return d.holders == 0 && d.last.Before(asked.Add(-time.Second))
}

// mustAsk reports whether a starting session must query the catalog, and keeps others from doing so.
func (v *vocabulary) mustAsk(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	lasts := wordsLast
	switch {
	case v.known.Load() == nil: // another session is querying, or was refused
		lasts = time.Second
	case len(v.doubted) > 0:
		lasts = doubtsLast
	}
	if !v.asked.IsZero() && now.Sub(v.asked) < max(lasts, wordsShare*v.took) {
		return false
	}
	v.asked = now
	return true
}

// mustRenew reports whether a session that has already started must query the catalog again, because DDL has ended.
func (v *vocabulary) mustRenew(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.asked) < max(doubtsLast, wordsShare*v.took) {
		return false
	}
	for _, d := range v.doubted {
		if d.isOver(now) {
			v.asked = now
			return true
		}
	}
	return false
}

// learn stores the words from the catalog, which was queried at that time.
func (v *vocabulary) learn(words map[string]struct{}, asked, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.took = now.Sub(asked); asked.Before(v.learnt) { // another session has queried since
		return
	}
	v.learnt = asked
	_, fires := words[triggerWord]
	delete(words, triggerWord) // it is in no query
	v.fires.Store(fires)
	v.known.Store(&words)
	maps.DeleteFunc(v.doubted, func(_ string, d doubt) bool { return d.isOver(asked) })
	v.publishDoubts()
}

// refuse records that the query failed. Its duration counts as well: if the catalog is huge, the query may have run until its timeout.
func (v *vocabulary) refuse(asked, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.took = now.Sub(asked)
}

// doubt adds words in DDL, which stay at least until release.
func (v *vocabulary) doubt(words []string, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.doubted == nil {
		v.doubted = map[string]doubt{}
	}
	for _, word := range words {
		if _, known := v.doubted[word]; !known && len(v.doubted) >= maxDoubtful {
			word = everyWord
		}
		d := v.doubted[word]
		v.doubted[word] = doubt{d.holders + 1, now}
	}
	v.publishDoubts()
}

// release records that the transaction with that DDL has ended.
func (v *vocabulary) release(words []string, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, word := range words {
		d, known := v.doubted[word]
		if !known {
			d, word = v.doubted[everyWord], everyWord
		}
		v.doubted[word] = doubt{d.holders - 1, now}
	}
}

func (v *vocabulary) publishDoubts() {
	words := make(map[string]struct{}, len(v.doubted))
	for word := range v.doubted {
		words[word] = struct{}{}
	}
	v.fresh.Store(&words)
}

// has reports whether a word belongs to something that may write. Until the words of the catalog are known, every word does.
func (v *vocabulary) has(word []byte) bool {
	fresh := v.isFresh(word) // first: learn() stores it last
	known := v.known.Load()
	if known == nil {
		return true
	}
	_, ok := (*known)[string(word)]
	return ok || fresh
}

// isFresh reports whether a word is one of DDL.
func (v *vocabulary) isFresh(word []byte) bool {
	fresh := v.fresh.Load()
	if fresh == nil {
		return false
	}
	_, ok := (*fresh)[string(word)]
	return ok
}

// isEmpty reports whether no such word exists.
func (v *vocabulary) isEmpty() bool {
	known := v.known.Load()
	return known != nil && len(*known) == 0 && !v.hasDoubts()
}

// hasDoubts reports whether there are words from DDL that the catalog has not confirmed yet.
func (v *vocabulary) hasDoubts() bool {
	fresh := v.fresh.Load()
	return fresh != nil && len(*fresh) > 0
}

// mayFire reports whether a write may run a user-defined function.
func (v *vocabulary) mayFire() bool { return v.fires.Load() || !v.isEmpty() }

// mayDefer reports whether rows may be written at a commit.
func (v *vocabulary) mayDefer() bool {
	return !v.isEmpty() && (v.has([]byte(deferredWord)) || v.has([]byte(everyWord)))
}

// mayRestrict reports whether a function may have written, and then made its subtransaction read-only, in which no note is written.
func (v *vocabulary) mayRestrict() bool {
	return !v.isEmpty() && (v.has([]byte(readOnlyWord)) || v.has([]byte(everyWord)))
}

// mayBind reports whether a Bind may write.
func (v *vocabulary) mayBind() bool {
	return !v.isEmpty() && (v.has([]byte(boundWord)) || v.has([]byte(everyWord)))
}

// mayAssign reports whether an EXECUTE may write while it converts its arguments to the types of the parameters, none of which its text names.
func (v *vocabulary) mayAssign() bool { return v.mayBind() || v.has([]byte(assignedWord)) }

// catalogWords collects the answer to askWords.
type catalogWords map[string]struct{}

func (words catalogWords) take(value []byte) {
	switch {
	case len(value) == 0 || len(words) >= maxWords:
		words[everyWord] = struct{}{}
	case value[0] == 't':
		words[triggerWord] = struct{}{}
	case value[0] == 'd':
		words[deferredWord] = struct{}{}
	case value[0] == 'o':
		words[readOnlyWord] = struct{}{}
	case value[0] == 'b':
		words[boundWord] = struct{}{}
	case value[0] == 'x':
		words[assignedWord] = struct{}{}
	case value[0] == 'f':
		words[string(value[1:])] = struct{}{}
	case value[0] == 'r':
		words[rowType+string(value[1:])] = struct{}{}
	case value[0] == 'a' || isImplicit(value[1:]):
		words[everyWord] = struct{}{}
	default:
		words[string(value[1:])], words[earlyWord+string(value[1:])] = struct{}{}, struct{}{}
	}
}

// isImplicit reports whether an operator is also used where it is not written, in IN or LIKE for example.
func isImplicit(operator []byte) bool {
	return strings.Contains(" = < > <= >= <> ~ !~ ~~ !~~ ~~* !~~* ", " "+string(operator)+" ")
}

// learnWords queries the catalog. If a session's query is refused, the next session tries again.
func (s *session) learnWords() error {
	v := &s.database.vocabulary
	began := time.Now()
	if !v.mustAsk(began) {
		return nil
	}
	words := catalogWords{}
	if err := s.askFor(askWords, words.take); err != nil {
		v.refuse(began, time.Now())
		return err
	}
	v.learn(words, began, time.Now())
	return nil
}

// renewWords queries the catalog again in front of the client's request, which must be a Query or a Parse of the unnamed statement: the proxy's Query
// destroys that statement as well. It does so outside a transaction, once everything has been answered.
func (s *session) renewWords() error {
	if s.notes == nil || s.unsynced || !s.tx.certain || s.tx.open || !s.database.isReady() {
		return nil
	}
	v := &s.database.vocabulary
	if !v.hasDoubts() {
		return nil
	}
	began := time.Now()
	if !v.mustRenew(began) {
		return nil
	}
	words := catalogWords{}
	asked := &question{take: words.take, done: func(failed bool) {
		if failed {
			v.refuse(began, time.Now())
		} else {
			v.learn(words, began, time.Now())
		}
	}}
	return s.send(entry{kind: 'Q', visibility: hush, group: s.tx.group - 1, question: asked}, func(dst []byte) []byte {
		return append(append(append(dst, s.ourTerms()...), askWords...), 0)
	})
}

// applyVocabulary corrects the parser's result for a text, using the words of the database, and tracks its DDL.
func (s *session) applyVocabulary(text []byte, lexis parser.Lexis) {
	if !s.isReady() {
		return
	}
	for i := range s.list {
		if st := &s.list[i]; changesWords(st) {
			s.followDDL(text[st.Start:st.End], st, lexis)
		}
	}
	s.withVocabulary(s.list, text, lexis)
}

// withVocabulary corrects and returns a list of the text's statements.
func (s *session) withVocabulary(list []parser.Statement, text []byte, lexis parser.Lexis) []parser.Statement {
	if !s.isReady() || s.database.vocabulary.isEmpty() {
		return list
	}
	v := &s.database.vocabulary
	for i := range list {
		st := &list[i]
		text := text[st.Start:st.End]
		if st.Tx == parser.Execute && st.Inner == parser.Never && bytes.IndexByte(text, '(') >= 0 && (v.mayAssign() || v.mentionedIn(text, lexis, false)) {
			st.Inner = parser.IfNoted // its arguments
		}
		if st.Note != parser.Never || !hasQuery(st) {
			continue
		}
		if runsOther(st) || v.mentionedIn(text, lexis, keepsText(st)) {
			st.Note = parser.IfNoted
		}
		if st.Tx == parser.Prepare && st.Inner == parser.Never && v.mentionedIn(text, lexis, false) {
			st.Inner = parser.IfNoted
		}
	}
	return list
}

// hasQuery reports whether a statement whose text writes nothing may run a query, or functions while it parses or plans one.
func hasQuery(st *parser.Statement) bool {
	switch st.Verb {
	case "SELECT", "EXPLAIN", "COPY", "DECLARE CURSOR", "PREPARE", "ANALYZE":
		return true
	}
	return false
}

// runsOther reports whether a statement runs, or plans, what its text does not show: EXPLAIN EXECUTE runs a prepared statement; ANALYZE evaluates the
// expressions of indexes and of extended statistics.
func runsOther(st *parser.Statement) bool {
	return st.Verb == "EXPLAIN" && st.Name != "" || st.Verb == "ANALYZE"
}

// mayRunEarly reports whether a text may run functions of the client while it is parsed or planned.
func (s *session) mayRunEarly(text []byte, set *settings) bool {
	if !s.isReady() || s.database.vocabulary.isEmpty() {
		return false
	}
	lexis := set.lexis
	lexis.MultiByte = false
	return s.database.vocabulary.mentionedIn(set.encoding.lexable(text), lexis, true)
}

// mentionedIn reports whether a text contains one of the words; early: one that counts while the text is parsed or planned.
func (v *vocabulary) mentionedIn(text []byte, lexis parser.Lexis, early bool) bool {
	if v.has([]byte(everyWord)) {
		return true
	}
	var buf [64]byte // names are shorter
	marked := func(mark string, name []byte) bool { return v.has(append(append(buf[:0], mark...), name...)) }
	names := parser.NewNames(text, lexis)
	for name, ok := names.Next(); ok; name, ok = names.Next() {
		if early && (v.isFresh(name) || marked(earlyWord, name)) || !early && v.has(name) || names.IsType() && marked(rowType, name) {
			return true
		}
	}
	return !names.Readable()
}

// changesWords reports whether a statement may create something that may write, or rename it.
func changesWords(st *parser.Statement) bool {
	first, kind, _ := strings.Cut(st.Verb, " ")
	if first != "CREATE" && first != "ALTER" {
		return false
	}
	switch kind {
	case "FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE", "VIEW", "POLICY", "OPERATOR", "CAST", "DOMAIN", "TYPE", "RULE", "SCHEMA", "EXTENSION":
		return true
	case "TRIGGER":
		return first == "CREATE"
	case "TABLE":
		return first == "ALTER"
	}
	return false
}

// followDDL makes the words of a DDL statement count as those of something that may write, until the catalog is queried again. If a transaction has
// more than maxDoubtful such words, every word counts.
func (s *session) followDDL(text []byte, st *parser.Statement, lexis parser.Lexis) {
	if strings.HasSuffix(st.Verb, " POLICY") && !s.database.vocabulary.mayCall(text, lexis) {
		return
	}
	if words := s.pending.holdWords(wordsOfDDL(text, st, lexis), s.tx.group); len(words) > 0 {
		s.database.vocabulary.doubt(words, time.Now())
	}
}

// mayCall reports whether the expressions of a policy may write. They are looked at like a query.
func (v *vocabulary) mayCall(text []byte, lexis parser.Lexis) bool {
	list, readable := parser.Split(nil, append([]byte("SELECT "), text...), lexis)
	return !readable || len(list) != 1 || list[0].Note != parser.Never || v.mentionedIn(text, lexis, false)
}

// wordsOfDDL returns the names in a DDL statement, if possible only that of the object that it creates; for ALTER TABLE only if it changes a name. Every
// word counts if the statement changes what others mean that it does not name: a policy, those of the views over its table, for example. ALTER TABLE … ENABLE ROW LEVEL SECURITY needs no words: the catalog's have each policy, enabled or not.
func wordsOfDDL(text []byte, st *parser.Statement, lexis parser.Lexis) (words []string) {
	created, every, whole := false, false, text
	switch st.Verb {
	case "CREATE EXTENSION", "ALTER EXTENSION", "ALTER DOMAIN": // its contents, or the types that use it, are not in the text
		return []string{everyWord, deferredWord, boundWord}
	case "CREATE POLICY", "ALTER POLICY", "CREATE CAST":
		return []string{everyWord}
	case "CREATE TRIGGER":
		return []string{deferredWord}
	case "CREATE DOMAIN":
		words = []string{boundWord}
	}
	switch st.Verb {
	case "CREATE FUNCTION", "CREATE PROCEDURE", "CREATE AGGREGATE", "CREATE VIEW", "CREATE DOMAIN", "CREATE TYPE", "CREATE OPERATOR":
		if name := parser.Created(text, lexis); name != nil {
			text, created = name, true
		}
	}
	if st.Verb == "CREATE FUNCTION" || st.Verb == "CREATE PROCEDURE" {
		if parser.DeclaresHold(whole) {
			words = append(words, deferredWord)
		}
		if restricts.Match(whole) {
			words = append(words, readOnlyWord)
		}
	}
	matters := st.Verb != "ALTER TABLE"
	names := parser.NewNames(text, lexis)
	for name, ok := names.Next(); ok && len(words) <= maxDoubtful; name, ok = names.Next() {
		if created || !parser.IsReserved(name) && (!parser.IsOperator(name) || strings.Contains(st.Verb, "OPERATOR")) {
			words = append(words, string(name))
			every = every || isImplicit(name)
		}
		matters = matters || string(name) == "rename"
	}
	switch {
	case !matters:
		return nil
	case every || !names.Readable():
		return []string{everyWord}
	}
	return words
}
