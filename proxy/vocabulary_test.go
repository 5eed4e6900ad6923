package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgtee/pgtee/parser"
)

var plainLexis = parser.Lexis{StandardConformingStrings: true}

func (v *vocabulary) mentions(text string) bool { return v.mentionedIn([]byte(text), plainLexis) }

func TestVocabulary(t *testing.T) {
	v := &vocabulary{}
	if !v.mentions("SELECT 1") {
		t.Error("before the catalog is asked a query may not write")
	}
	begin := time.Now()
	if !v.mustAsk(begin) || v.mustAsk(begin) {
		t.Error("not one session asks")
	}
	v.learn(map[string]struct{}{"peeking": {}, "<+>": {}}, begin, begin)
	for text, want := range map[string]bool{
		"SELECT 1": false, "SELECT * FROM Work.PEEKING": true, `SELECT * FROM "peeking"`: true, `SELECT * FROM "Peeking"`: false,
		"SELECT 'peeking' -- peeking": false, "SELECT a<+>b": true, "SELECT a<+b": false, `SELECT U&"\0061"`: true, "SELECT 'open": true,
	} {
		if v.mentions(text) != want {
			t.Errorf("%s: %t", text, !want)
		}
	}

	text := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 5")
	if n := testing.AllocsPerRun(100, func() { v.mentionedIn(text, plainLexis) }); n > 0 {
		t.Errorf("a look at a query allocates %v times", n)
	}

	// Words of DDL stay while its transaction may be open, however often the catalog is asked.
	v.doubt([]string{"fresh"}, begin)
	later := begin.Add(time.Hour)
	v.learn(map[string]struct{}{}, later, later)
	if !v.mentions("TABLE fresh") || v.mentions("TABLE peeking") {
		t.Error("a word of an open transaction is forgotten, or an old one is not")
	}
	v.release([]string{"fresh"}, later)
	v.learn(map[string]struct{}{}, later, later) // asked as the transaction ended
	if !v.mentions("TABLE fresh") {
		t.Error("a word is forgotten before the catalog can have it")
	}
	v.learn(map[string]struct{}{}, later.Add(time.Minute), later.Add(time.Minute))
	if v.mentions("TABLE fresh") || !v.isEmpty() {
		t.Error("a word of DDL stays")
	}

	// Of too many words all count.
	many := make([]string, maxDoubtful+10)
	for i := range many {
		many[i] = fmt.Sprint("w", i)
	}
	v.doubt(many, later)
	if !v.mentions("SELECT 1") {
		t.Error("words beyond the limit do not count")
	}
	v.release(many, later)
	v.learn(map[string]struct{}{}, later.Add(time.Hour), later.Add(time.Hour))
	if !v.isEmpty() {
		t.Error("words beyond the limit stay")
	}
}
