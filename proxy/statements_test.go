package proxy

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/pgtee/pgtee/parser"
)

func writing(text string) *statement {
	return &statement{need: parser.Always, subject: subject{sql: []byte(text)}, hash: hashOf([]byte(text))}
}

func reading(text string) *statement {
	return &statement{need: parser.Never, hash: hashOf([]byte(text))}
}

func TestStatementsKeepTheirMeaning(t *testing.T) {
	s := newStatements()
	first, second := writing("first"), writing("second")
	name := []byte("s")
	s.prepare(name, first, 1)
	s.deallocate(name)
	if s.find(name, 2) != first {
		t.Error("a Close that may have been skipped takes the meaning away")
	}
	s.prepare(name, second, 3)
	if s.find(name, 3) != second {
		t.Error("the name has its old meaning")
	}
	second.fail()
	if s.find(name, 4) != first {
		t.Error("a refused Parse changes the meaning")
	}
	if s.find([]byte("x"), 4) != unknownStatement {
		t.Error("an unknown name has a meaning")
	}
}

// The server refuses to parse a name again that is in use, and may not have said so yet when the name is bound.
func TestNamesInUseKeepTheirMeaning(t *testing.T) {
	s := newStatements()
	first, second, third := writing("first"), reading("second"), writing("third")
	name := []byte("s")
	s.prepare(name, first, 1)
	first.succeed()
	s.prepare(name, second, 2)
	if s.find(name, 3) != first {
		t.Error("a Parse that will be refused changes the meaning")
	}
	s.deallocate(name)
	s.prepare(name, third, 3)
	third.succeed()
	if s.find(name, 4) != third {
		t.Error("a name that was closed keeps its meaning")
	}
	if second.fail(); s.find(name, 4) != third {
		t.Error("a name that was closed has its old meaning again")
	}
}

// Where the answers are still to come, a name has the need of whatever it may mean, and no text that may be wrong.
func TestNamesInDoubtNeedTheMost(t *testing.T) {
	name := []byte("s")
	for _, test := range []struct {
		name          string
		first, second *statement
		between       func(*statements, *statement)
	}{
		{"two unanswered", writing("a"), reading("b"), nil},
		{"the other way round", reading("a"), writing("b"), nil},
		{"closed", writing("a"), reading("b"), func(s *statements, st *statement) { st.succeed(); s.deallocate(name) }},
		{"a function may have closed it", writing("a"), reading("b"), func(s *statements, st *statement) { st.succeed(); s.doubt() }},
	} {
		s := newStatements()
		s.prepare(name, test.first, 1)
		if test.between != nil {
			test.between(s, test.first)
		}
		s.prepare(name, test.second, 2)
		if st := s.find(name, 3); st.need != parser.Always || st.subject.sql != nil || !st.unreadable {
			t.Errorf("%s: %+v", test.name, st)
		}
		if s.find(name, 2) != test.second {
			t.Errorf("%s: what follows the last Parse in its group can only mean that", test.name)
		}
		test.second.fail()
		if s.find(name, 3) != test.first {
			t.Errorf("%s: a refused Parse changes the meaning", test.name)
		}
	}
	s := newStatements()
	s.prepare(nil, writing("a"), 1)
	skipped := reading("b")
	s.prepare(nil, skipped, 2)
	if skipped.fail(); s.find(nil, 3).need != parser.Always {
		t.Error("an unnamed Parse that was skipped changes the meaning")
	}
	s = newStatements()
	replaced := reading("a")
	s.prepare(nil, replaced, 1)
	replaced.succeed()
	s.prepare(nil, writing("b"), 2)
	if s.find(nil, 3).need != parser.Always {
		t.Error("an unnamed statement is not replaced")
	}
	s = newStatements()
	s.prepare(name, writing("a"), 1)
	for i := range uint32(2 * maxMeanings) {
		s.prepare(name, reading("b"), 2+i)
	}
	if s.find(name, 4*maxMeanings).need != parser.Always {
		t.Error("what a name meant long ago is forgotten, though it may still mean that")
	}
}

func TestExecuteOfExecute(t *testing.T) {
	s := newStatements()
	s.prepare([]byte("write"), writing("a"), 1)
	s.prepare([]byte("outer"), &statement{need: parser.InBlock, effects: effects{tx: parser.Execute, name: "write"}}, 1)
	s.prepare([]byte("endless"), &statement{need: parser.InBlock, effects: effects{tx: parser.Execute, name: "endless"}}, 1)
	for name, want := range map[string]parser.Need{"outer": parser.Always, "endless": parser.Always, "nosuch": parser.Always} {
		if st, arguments := s.run(effects{tx: parser.Execute, name: name}, 2); st.need != want || arguments != parser.Never {
			t.Errorf("EXECUTE %s: %v, its arguments %v", name, st.need, arguments)
		}
	}
	s.prepare([]byte("read"), reading("a"), 1)
	s.prepare([]byte("calls"), &statement{need: parser.InBlock, effects: effects{tx: parser.Execute, name: "read", inner: parser.IfNoted}}, 1)
	if _, arguments := s.run(effects{tx: parser.Execute, name: "calls"}, 2); arguments != parser.IfNoted {
		t.Errorf("the arguments of an EXECUTE that another one runs: %v", arguments)
	}
}

func TestPortalsKeepTheirMeaning(t *testing.T) {
	s := newStatements()
	write, read := writing("a"), reading("b")
	portal := []byte("p")
	s.bind(portal, write, 1)
	s.bind(portal, read, 1) // the first may have been closed by CLOSE ALL
	if st, _, _ := s.execute(portal, 1, 1); st != read {
		t.Error("what follows a Bind in its group can only mean that")
	}
	for _, name := range []string{"p", ""} {
		s.closePortals()
		s.bind([]byte(name), write, 2)
		s.closePortal([]byte(name))
		s.bind([]byte(name), read, 3)
		s.bind([]byte(name), read, 4)
		if st, _, _ := s.execute([]byte(name), 5, 1); st.need != parser.Always || st.subject.sql != nil {
			t.Errorf("portal %q is taken for what it may not be: %+v", name, st)
		}
	}
}

func TestPortalsBeyondTheLimitCountAsWrites(t *testing.T) {
	s := newStatements()
	for i := range maxPortals + 1 {
		s.bind(fmt.Appendf(nil, "p%d", i), writing("a"), 1)
	}
	last := fmt.Appendf(nil, "p%d", maxPortals)
	if st, _, _ := s.execute(last, 1, 1); st.need != parser.Always {
		t.Error("a portal that did not fit in counts as a cursor")
	}
	s.closePortals()
	if st, _, _ := s.execute(last, 2, 1); st != fetching {
		t.Error("a cursor counts as a write")
	}
}

func TestRefusedStatementsTakeNoRoom(t *testing.T) {
	s := newStatements()
	for i := range maxStatements {
		st := writing("SELCT")
		s.prepare(fmt.Appendf(nil, "s%d", i), st, 1)
		st.fail()
	}
	s.prepare([]byte("s"), reading("b"), 2)
	if s.find([]byte("s"), 2) == unknownStatement {
		t.Error("there is no room")
	}
}

func TestStatementsAreBounded(t *testing.T) {
	s := newStatements()
	for i := range 3 * maxStatements {
		name := fmt.Appendf(nil, "s%d", i)
		s.prepare(name, writing("text of a statement"), 1)
		if s.find(name, 1) == unknownStatement {
			t.Fatalf("statement %d is not known", i)
		}
		s.deallocate(name)
		s.bind(name, unknownStatement, 1)
		s.execute(name, 1, 1)
	}
	if len(s.byName) > maxStatements || len(s.portals) > maxPortals || s.bytes > maxStatementBytes {
		t.Errorf("%d statements, %d portals, %d bytes", len(s.byName), len(s.portals), s.bytes)
	}
	s.prepare([]byte("long"), writing(string(make([]byte, maxStatementBytes+1))), 1)
	if s.find([]byte("long"), 1).subject.sql != nil {
		t.Error("a text beyond the limit is kept")
	}
	for range 100 {
		s.prepare([]byte("again"), writing("text"), 1)
	}
	s.deallocateAll()
	if s.sweep(); len(s.byName) != 0 || s.bytes != 0 {
		t.Errorf("%d statements of %d bytes after a sweep", len(s.byName), s.bytes)
	}
}

// A client decides how long a name is, but not how much of it is kept.
func TestNamesAreCutAsPostgresCutsThem(t *testing.T) {
	s := newStatements()
	long := bytes.Repeat([]byte("n"), maxBufferBytes)
	st := writing("long")
	s.prepare(long, st, 1)
	s.bind(long, st, 1)
	if s.find(long[:maxName], 1) != st || s.find(long[:maxName-1], 1) != unknownStatement {
		t.Error("a name does not mean what its first 63 bytes mean")
	}
	for name := range s.byName {
		if len(name) > maxName {
			t.Errorf("the name of a statement takes %d bytes", len(name))
		}
	}
	if got, number, _ := s.execute(long[:maxName], 1, 7); got != st || number != 7 {
		t.Error("a portal's name does not mean what its first 63 bytes mean")
	}
	if e := effectsOf(&parser.Statement{Name: string(long)}); len(e.name) > maxName {
		t.Errorf("the name that a statement holds takes %d bytes", len(e.name))
	}
}

// The notes of a portal have the number of its statement, also when another statement has run since.
func TestNumberOfAPortal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := noting(t).enter("anna", annInShop)
		g.says("Query BEGIN")
		g.heard()
		g.answers("CommandComplete BEGIN", "ReadyForQuery T")
		g.heard()
		g.says("Parse p `SELECT f(v) FROM v`", "Bind p p", "Execute p 1", "Parse `` `INSERT INTO t VALUES (1)`", "Bind `` ``", "Execute `` 0", "Execute p 1", "Sync")
		_, got := g.heard()
		var numbers []uint32
		for _, payload := range regexp.MustCompile("[A-Za-z0-9+/=]{96,}").FindAllString(got, -1) {
			raw, err := base64.StdEncoding.DecodeString(payload)
			if err != nil {
				t.Fatal(err)
			}
			numbers = append(numbers, binary.BigEndian.Uint32(raw[27:]))
		}
		if want := []uint32{2, 3, 2}; !slices.Equal(numbers, want) {
			t.Errorf("the notes have the numbers %d, want %d", numbers, want)
		}
	})
}
