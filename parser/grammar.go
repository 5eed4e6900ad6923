package parser

import (
	"bytes"
	"encoding/json"
	"sync"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

const (
	maxAskedBytes  = 16 << 10 // longer texts are not asked about: libpg_query recurses, one level for two bytes at worst
	maxAnswerBytes = 4 << 20  // of the texts whose answers are remembered
)

// answer is what the grammar says about a query.
type answer struct {
	verb string
	need Need
}

// ask has PostgreSQL's grammar tell a query that WITH begins, which holds words that may be verbs of writes. Where
// the grammar fails (SQL newer than it, a text too long) the words are judged by their places.
func ask(query []byte, lexis Lexis) (string, Need) {
	var buf [1024]byte
	normal := Normalize(buf[:0], query, lexis) // literals change nothing
	if a, ok := answers.find(normal); ok {
		return a.verb, a.need
	}
	var tree parseTree
	if !tree.parse(query, lexis) || len(tree.Stmts) != 1 {
		return guess(query, lexis)
	}
	a := tree.Stmts[0].Stmt.answer()
	answers.remember(normal, a)
	return a.verb, a.need
}

// agrees reports whether the grammar finds as many statements in a text. If it cannot read the text, nobody objects.
func agrees(sql []byte, lexis Lexis, statements int) bool {
	var tree parseTree
	return !tree.parse(sql, lexis) || len(tree.Stmts) == statements
}

// Parses reports whether the grammar reads a text as it is. It is false of one that only a newer grammar reads.
func Parses(sql []byte, lexis Lexis) bool {
	var tree parseTree
	return tree.parse(sql, lexis)
}

// parseTree is the part of libpg_query's JSON that matters here.
type parseTree struct {
	Stmts []struct {
		Stmt node `json:"stmt"`
	} `json:"stmts"`
}

// node is one statement; the fields that are nil are not it.
type node struct {
	SelectStmt *struct {
		IntoClause json.RawMessage `json:"intoClause"`
		WithClause struct {
			Ctes []struct {
				CommonTableExpr struct {
					Ctequery node `json:"ctequery"`
				} `json:"CommonTableExpr"`
			} `json:"ctes"`
		} `json:"withClause"`
	} `json:"SelectStmt"`
	InsertStmt *struct{} `json:"InsertStmt"`
	UpdateStmt *struct{} `json:"UpdateStmt"`
	DeleteStmt *struct{} `json:"DeleteStmt"`
	MergeStmt  *struct{} `json:"MergeStmt"`
}

// parse is false if the grammar cannot read the text. It reads as with standard_conforming_strings on.
func (t *parseTree) parse(sql []byte, lexis Lexis) bool {
	if len(sql) > maxAskedBytes || !lexis.StandardConformingStrings && bytes.IndexByte(sql, '\\') >= 0 {
		return false
	}
	text, err := pg_query.ParseToJSON(string(sql))
	return err == nil && json.Unmarshal([]byte(text), t) == nil
}

// answer tells what a query does.
func (n *node) answer() answer {
	switch {
	case n.InsertStmt != nil:
		return answer{"INSERT", Always}
	case n.UpdateStmt != nil:
		return answer{"UPDATE", Always}
	case n.DeleteStmt != nil:
		return answer{"DELETE", Always}
	case n.MergeStmt != nil:
		return answer{"MERGE", Always}
	case n.SelectStmt == nil:
		return answer{"", IfNoted}
	case n.SelectStmt.IntoClause != nil:
		return answer{"SELECT INTO", Always}
	}
	for _, cte := range n.SelectStmt.WithClause.Ctes {
		if cte.CommonTableExpr.Ctequery.answer().need == Always {
			return answer{"SELECT", Always}
		}
	}
	return answer{"SELECT", Never}
}

// answers are shared by all sessions.
var answers = &cache{byText: map[string]answer{}}

// cache remembers answers by normalised text, up to maxAnswerBytes of texts; then it starts again from nothing.
type cache struct {
	mu     sync.Mutex
	byText map[string]answer // guarded by mu
	bytes  int               // of the texts in byText, guarded by mu
}

func (c *cache) find(text []byte) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.byText[string(text)]
	return a, ok
}

func (c *cache) remember(text []byte, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byText[string(text)]; ok {
		return
	}
	if c.bytes+len(text) > maxAnswerBytes {
		clear(c.byText)
		c.bytes = 0
	}
	c.byText[string(text)] = a
	c.bytes += len(text)
}

// guess judges a query by the places of its words, where the grammar cannot read it. A verb counts behind the
// queries that WITH names, and as the first word of one of them.
func guess(query []byte, lexis Lexis) (string, Need) {
	p := newPhrase(query, lexis)
	verb, need := "", IfNoted
	depth, named := 0, false // named: the last parenthesis opened a query of WITH
	for before := (token{}); !p.ends(); before = p.advance() {
		switch {
		case p.is(p.token, '('):
			depth++
			named = p.isWord(before, "AS") || p.isWord(before, "MATERIALIZED")
		case p.is(p.token, ')'):
			depth--
		case p.isWord(p.token, "INTO") && verb == "SELECT":
			return "SELECT INTO", Always
		case named && p.is(before, '(') && p.isWrite(before):
			need = Always
		case depth == 0 && verb == "" && !p.names(before):
			verb = p.mainVerb()
			if p.isWrite(before) {
				return verb, Always
			}
		}
	}
	return verb, need
}

// names reports whether the word behind this token is the name of a query of WITH.
func (p *phrase) names(before token) bool {
	return p.isWord(before, "WITH") || p.isWord(before, "RECURSIVE") || p.is(before, ',')
}

// mainVerb returns the current word if it can begin what follows WITH, else "".
func (p *phrase) mainVerb() string {
	switch w := p.word(); w {
	case "SELECT", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE":
		return w
	}
	return ""
}
