package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// nonce identifies what one statement writes: it is in the statement's text and in its rows. It has ten digits, and no other number in a script has
// as many, so it can be found in any text.
type nonce int64

const firstNonce nonce = 1_000_000_000

const (
	sessions   = 20
	perSession = 10_000_000 // number of nonces
)

// session returns the number of the session whose statement has the nonce.
func (n nonce) session() int { return int((n - firstNonce) / perSession) }

// key returns a number of at most nine digits for keys of rows: it identifies the nonce for the judge, but is not itself a nonce.
func (n nonce) key() int64 { return int64(n - firstNonce) }

func (n nonce) String() string { return strconv.FormatInt(int64(n), 10) }

// spelled returns the nonce for a setting, in a form that is not found as a nonce: a statement that passes it on to another one must not appear to
// have it.
func (n nonce) spelled() string { return fmt.Sprintf("%d.%05d", n/100_000, n%100_000) }

var numbers = regexp.MustCompile(`\d+`)

// noncesIn returns the distinct nonces in a text.
func noncesIn(text string) (found []nonce) {
	seen := map[nonce]bool{}
	for _, digits := range numbers.FindAllString(text, -1) {
		number, err := strconv.ParseInt(digits, 10, 64)
		n := nonce(number)
		if err != nil || n < firstNonce || n >= firstNonce+sessions*perSession || seen[n] {
			continue
		}
		seen[n] = true
		found = append(found, n)
	}
	return found
}

// fill inserts a statement's own nonce, a second one, their keys and the session's number into a template.
func fill(template string, n, m nonce) string {
	return strings.NewReplacer(
		"{n}", n.String(), "{m}", m.String(), "{s}", n.spelled(), "{k}", strconv.FormatInt(n.key(), 10), "{i}", strconv.Itoa(n.session()+1),
	).Replace(template)
}
