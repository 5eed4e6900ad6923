package parser

import (
	"bytes"
	"encoding/json"
	"sync"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

const (
	maxAskedBytes  = 16 << 10 // longer texts are not parsed: libpg_query recurses, in the worst case one level for two bytes
	maxAnswerBytes = 4 << 20  // of the texts whose answers are cached
)

// answer is the grammar's classification of a query.
type answer struct {
	verb string
	need Need
}

// classifyByGrammar classifies a query with WITH, some of whose words may be the verbs of writes, by PostgreSQL's grammar. If the grammar cannot read the
// query (SQL newer than the grammar, or a text that is too long), guess classifies it by the positions of its words.
func classifyByGrammar(query []byte, lexis Lexis) (string, Need) {
	var buf [1024]byte
	normal := Normalize(buf[:0], query, lexis) // literals do not matter
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

// grammarAgrees reports whether the grammar finds the same number of statements in a text. It returns true if the grammar cannot read the text.
func grammarAgrees(sql []byte, lexis Lexis, statements int) bool {
	var tree parseTree
	return !tree.parse(sql, lexis) || len(tree.Stmts) == statements
}

// Parses reports whether the grammar reads a text as it is. A text that needs a newer grammar does not parse.
func Parses(sql []byte, lexis Lexis) bool {
	var tree parseTree
	return tree.parse(sql, lexis)
}

// parseTree is the part of libpg_query's JSON that is needed here.
type parseTree struct {
	Stmts []struct {
		Stmt node `json:"stmt"`
	} `json:"stmts"`
}

// node is one statement: exactly one field is not nil if the kind of statement is known.
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

// parse returns false if the grammar cannot read the text. The grammar assumes that standard_conforming_strings is on.
func (t *parseTree) parse(sql []byte, lexis Lexis) bool {
	if len(sql) > maxAskedBytes || !lexis.StandardConformingStrings && bytes.IndexByte(sql, '\\') >= 0 {
		return false
	}
	text, err := pg_query.ParseToJSON(string(sql))
	return err == nil && json.Unmarshal([]byte(text), t) == nil
}

// answer classifies a query.
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

// answers is shared by all sessions.
var answers = &cache{byText: map[string]answer{}}

// cache holds answers by normalized text. When the texts exceed maxAnswerBytes, the cache is emptied.
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

// guess classifies a query that the grammar cannot read by the positions of its words. A verb counts if it follows the WITH queries, or if it is the
// first word of one of them.
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
		case depth == 0 && verb == "" && !p.isCTEName(before):
			verb = p.mainVerb()
			if p.isWrite(before) {
				return verb, Always
			}
		}
	}
	return verb, need
}

// isCTEName reports whether the word after this token is the name of a WITH query.
func (p *phrase) isCTEName(before token) bool {
	return p.isWord(before, "WITH") || p.isWord(before, "RECURSIVE") || p.is(before, ',')
}

// mainVerb returns the current word if it can be the verb after the WITH queries, else "".
func (p *phrase) mainVerb() string {
	switch w := p.word(); w {
	case "SELECT", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE":
		return w
	}
	return ""
}
