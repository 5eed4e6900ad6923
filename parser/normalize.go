package parser

import (
	"bytes"
	"strconv"
)

// unreadableText replaces a text that cannot be read, so that none of its literals leaks.
const unreadableText = "<unreadable>"

// Normalize appends sql without its literals to dst. Strings, numbers and bit strings become parameters, numbered after the parameters of the text; a
// sign becomes part of its number where PostgreSQL reads it so. Comments and trailing semicolons are removed, and white space between tokens becomes
// one space. If IN (…), ARRAY[…] or VALUES (…), (…) contains only constants, only the first element or row is kept, and a comment marks the omission
// as pg_stat_statements of PostgreSQL 18 does:
//
//	SELECT * FROM t WHERE a IN ($1 /*, ... */) AND b = $2
//
// NULL, TRUE, FALSE and DEFAULT are kept. A text that cannot be read becomes <unreadable>. A password given as a bare word (SET a.secret TO word) is
// an identifier: Redact removes it, Normalize does not.
func Normalize(dst, sql []byte, lexis Lexis) []byte {
	start := len(dst)
	r := newReducer(sql, lexis)
	highest := highestParam(sql, lexis)
	for before := endOfText; ; before = r.token.kind {
		switch r.advance() {
		case reducedEnd:
			return dst
		case reducedUnreadable:
			return append(dst[:start], unreadableText...)
		case reducedMore:
			dst = append(dst, " /*, ... */"...)
			continue
		case reducedLiteral:
			if len(dst) > start && (r.blank || before == word || dst[len(dst)-1] == '$') { // a'b' must not become a$1
				dst = append(dst, ' ')
			}
			highest++
			dst = strconv.AppendInt(append(dst, '$'), int64(highest), 10)
			continue
		}
		if len(dst) > start && r.blank {
			dst = append(dst, ' ')
		}
		dst = append(dst, r.text(r.token)...)
	}
}

// Fingerprint returns a hash of sql's tokens. Texts have the same fingerprint if they differ only in literals, parameters, comments, white space, the
// case of unquoted words, or the length of lists of constants (IN, ARRAY, rows of VALUES). A text has the same fingerprint as its normal
// form. All unreadable texts share one.
func Fingerprint(sql []byte, lexis Lexis) uint64 {
	h := newHash()
	r := newReducer(sql, lexis)
	for {
		switch r.advance() {
		case reducedEnd:
			return uint64(h)
		case reducedUnreadable:
			return Fingerprint([]byte(unreadableText), lexis)
		case reducedMore:
			continue
		case reducedLiteral, reducedConstant:
			h = h.add('$')
		case reducedText:
			h = h.token(r.text(r.token), r.token.kind == word)
		}
		h = h.add(0)
	}
}

// hash is 64-bit FNV-1a.
type hash uint64

func newHash() hash { return 14695981039346656037 }

func (h hash) add(b byte) hash { return (h ^ hash(b)) * 1099511628211 }

func (h hash) token(text []byte, fold bool) hash {
	for _, b := range text {
		if fold {
			b = lower(b)
		}
		h = h.add(b)
	}
	return h
}

// highestParam returns the highest parameter number in sql, 0 if sql has no parameter.
func highestParam(sql []byte, lexis Lexis) int {
	if bytes.IndexByte(sql, '$') < 0 {
		return 0
	}
	highest := 0
	l := newLexer(sql, lexis)
	for t := l.next(); t.kind != endOfText && t.kind != unreadable; t = l.next() {
		if t.kind != param {
			continue
		}
		if n, err := strconv.Atoi(string(l.text(t)[1:])); err == nil && n <= maxParam {
			highest = max(highest, n)
		}
	}
	return highest
}

const maxParam = 65535 // PostgreSQL's limit
