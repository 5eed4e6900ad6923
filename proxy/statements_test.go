package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pgtee/pgtee/parser"
)

func writing(text string) *statement {
	return &statement{need: parser.Always, subject: subject{sql: []byte(text)}}
}

func TestStatementsKeepTheirMeaning(t *testing.T) {
	s := newStatements()
	first, second := writing("first"), writing("second")
	name := []byte("s")
	s.prepare(name, first)
	s.deallocate(name)
	if s.find(name) != first {
		t.Error("a Close that may have been skipped takes the meaning away")
	}
	s.prepare(name, second)
	if s.find(name) != second {
		t.Error("the name has its old meaning")
	}
	second.fail()
	if s.find(name) != first {
		t.Error("a refused Parse changes the meaning")
	}
	if s.find([]byte("x")) != unknownStatement {
		t.Error("an unknown name has a meaning")
	}
}

// The server refuses to parse a name again that is in use, and may not have said so yet when the name is bound.
func TestNamesInUseKeepTheirMeaning(t *testing.T) {
	s := newStatements()
	first, second, third := writing("first"), writing("second"), writing("third")
	name := []byte("s")
	s.prepare(name, first)
	first.succeed()
	s.prepare(name, second)
	if s.find(name) != first {
		t.Error("a Parse that will be refused changes the meaning")
	}
	s.deallocate(name)
	s.prepare(name, third)
	if s.find(name) != third {
		t.Error("a name that was closed keeps its meaning")
	}
	if second.fail(); s.find(name) != third {
		t.Error("a name that was closed has its old meaning again")
	}
	third.succeed()
	fourth := writing("fourth")
	s.doubt()
	if s.prepare(name, fourth); s.find(name) != fourth {
		t.Error("a name that a function may have closed keeps its meaning")
	}
}

func TestPortalsKeepTheirMeaning(t *testing.T) {
	s := newStatements()
	first, second := writing("first"), writing("second")
	portal := []byte("p")
	s.bind(portal, first, 1)
	s.bind(portal, second, 1)
	if st, _, _ := s.execute(portal); st != fetching {
		t.Error("it is taken for known which of two Binds counts")
	}
	s.closePortal(portal)
	s.bind(portal, second, 1)
	if st, _, _ := s.execute(portal); st != second {
		t.Error("a portal that was closed keeps its meaning")
	}
	s.bind(portal, first, 2) // the transaction may have ended in between
	s.bind(nil, first, 2)
	s.bind(nil, second, 2)
	if st, _, _ := s.execute(portal); st != first {
		t.Error("a portal has its old meaning in the next group")
	}
	if st, _, _ := s.execute(nil); st != second {
		t.Error("the unnamed portal has its old meaning")
	}
}

func TestStatementsAreBounded(t *testing.T) {
	s := newStatements()
	for i := range 3 * maxStatements {
		name := fmt.Appendf(nil, "s%d", i)
		s.prepare(name, writing("text of a statement"))
		if s.find(name) == unknownStatement {
			t.Fatalf("statement %d is not known", i)
		}
		s.deallocate(name)
		s.bind(name, unknownStatement, 1)
		s.execute(name)
	}
	if len(s.byName) > maxStatements || len(s.portals) > maxPortals || s.bytes > maxStatementBytes {
		t.Errorf("%d statements, %d portals, %d bytes", len(s.byName), len(s.portals), s.bytes)
	}
	s.prepare([]byte("long"), writing(string(make([]byte, maxStatementBytes+1))))
	if s.find([]byte("long")).subject.sql != nil {
		t.Error("a text beyond the limit is kept")
	}
	for range 100 {
		s.prepare([]byte("again"), writing("text"))
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
	s.prepare(long, st)
	s.bind(long, st, 1)
	if s.find(long[:maxName]) != st || s.find(long[:maxName-1]) != unknownStatement {
		t.Error("a name does not mean what its first 63 bytes mean")
	}
	for name := range s.byName {
		if len(name) > maxName {
			t.Errorf("the name of a statement takes %d bytes", len(name))
		}
	}
	if got, first, _ := s.execute(long[:maxName]); got != st || !first {
		t.Error("a portal's name does not mean what its first 63 bytes mean")
	}
	if e := effectsOf(&parser.Statement{Name: string(long)}); len(e.name) > maxName {
		t.Errorf("the name that a statement holds takes %d bytes", len(e.name))
	}
}
