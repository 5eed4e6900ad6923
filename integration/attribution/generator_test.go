package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// scriptOf plays a generator up to that many statements.
func scriptOf(seed int64, session, statements int) (units []unit) {
	g := newGenerator(seed, session)
	for g.statements < statements {
		units = append(units, g.next())
	}
	return units
}

func TestScriptsDependOnSeedAndSessionAlone(t *testing.T) {
	for session := range sessions {
		one := scriptOf(7, session, 500)
		if !reflect.DeepEqual(one, scriptOf(7, session, 500)) {
			t.Errorf("session %d: two scripts of one seed differ", session)
		}
		if reflect.DeepEqual(one, scriptOf(8, session, 500)) {
			t.Errorf("session %d: the scripts of two seeds are the same", session)
		}
	}
}

// TestScriptsDoEverything looks for each form in each of its places, and for each way to send it.
func TestScriptsDoEverything(t *testing.T) {
	type written struct {
		form  string
		place place
	}
	seen, sent := map[written]int{}, map[way]int{}
	for session := range sessions {
		for _, u := range scriptOf(1, session, 5000) {
			sent[u.way]++
			for _, e := range u.expected {
				seen[written{e.form.name, e.place}]++
			}
		}
	}
	for i := range forms {
		for p := alone; p <= following; p <<= 1 {
			if n := seen[written{forms[i].name, p}]; n < 5 && forms[i].places&p != 0 {
				t.Errorf("%s, %s: %d times, want 5", forms[i].name, p, n)
			}
		}
	}
	for w := range ways {
		if sent[w] < 100 {
			t.Errorf("%d units as %s, want 100", sent[w], w)
		}
	}
}

// TestTextsTellTheirNonce is what the judge relies on: one nonce in each statement that writes or runs what writes, none in
// others, and none twice but in statements that belong together.
func TestTextsTellTheirNonce(t *testing.T) {
	for session := range sessions {
		for _, u := range scriptOf(2, session, 2000) {
			for _, s := range u.statements {
				want := []nonce{s.nonce()}
				if s.nonce() == 0 || s.kind == call {
					want = nil
				}
				if got := noncesIn(s.text()); !slices.Equal(got, want) {
					t.Fatalf("%q has the nonces %v, want %v", s.text(), got, want)
				}
				if s.rows+s.late > 0 && s.nonce() == 0 {
					t.Fatalf("%q writes and has no nonce", s.text())
				}
			}
			for _, e := range u.expected {
				if e.nonce.session() != session {
					t.Fatalf("session %d has nonce %v", session, e.nonce)
				}
			}
		}
	}
}

// TestScriptsEndWhatTheyBegin follows the blocks through each unit.
func TestScriptsEndWhatTheyBegin(t *testing.T) {
	for session := range sessions {
		for _, u := range scriptOf(3, session, 2000) {
			inside, prepared := false, false
			for _, s := range u.statements {
				switch verb, _, _ := strings.Cut(s.sql, " '"); {
				case strings.HasPrefix(verb, "BEGIN"), verb == "START TRANSACTION":
					inside = true
				case verb == "COMMIT", verb == "END", verb == "ROLLBACK":
					inside = false
				case verb == "PREPARE TRANSACTION":
					inside, prepared = false, true
				case strings.HasSuffix(verb, " PREPARED"):
					prepared = false
				case inside && strings.Contains(verb, "commit("):
					t.Fatalf("a procedure with COMMIT in a block: %q", u.asScript().messages[0])
				}
			}
			if inside || prepared {
				t.Fatalf("left open: %q", u.asScript().messages[0])
			}
		}
	}
}

// TestUnitsAreAnswered counts the messages that the server answers with ReadyForQuery.
func TestUnitsAreAnswered(t *testing.T) {
	for session := range sessions {
		for _, u := range scriptOf(4, session, 2000) {
			for _, turn := range u.turns(1) {
				ready := 0
				for _, m := range turn.messages {
					switch m.(type) {
					case *pgproto3.Query, *pgproto3.Sync, *pgproto3.FunctionCall:
						ready++
					}
				}
				if ready != turn.ready || ready > 0 && turn.done > 0 {
					t.Fatalf("%s: awaits %d ReadyForQuery and %d ends of statements, %d come", u.way, turn.ready, turn.done, ready)
				}
			}
		}
	}
}

// TestRolledBackRowsAreNotExpected plays what matters of transactions on a model of its own.
func TestRolledBackRowsAreNotExpected(t *testing.T) {
	for session := range sessions {
		for _, u := range scriptOf(5, session, 2000) {
			want := committed(u.statements)
			for _, e := range u.expected {
				if got := e.rows + e.late; got != want[e.nonce] {
					t.Fatalf("%v: %d rows are expected, want %d: %s", e.nonce, got, want[e.nonce], u.asScript().messages[0])
				}
			}
		}
	}
}

// committed is how many rows of each nonce the statements leave. It keeps those of each open level apart: of the transaction, of
// its savepoint, and of a prepared transaction.
func committed(statements []statement) map[nonce]int {
	sum, levels, prepared := map[nonce]int{}, []map[nonce]int{{}}, map[nonce]int{}
	commit := func(rows map[nonce]int) {
		for n, count := range rows {
			sum[n] += count
		}
	}
	for _, s := range statements {
		top := levels[len(levels)-1]
		switch verb, _, _ := strings.Cut(s.sql, " '"); verb {
		case "SAVEPOINT a":
			levels = append(levels, map[nonce]int{})
		case "RELEASE a":
			levels = levels[:len(levels)-1]
			for n, count := range top {
				levels[0][n] += count
			}
		case "ROLLBACK TO a":
			clear(top)
		case "COMMIT", "END", "COMMIT AND CHAIN", "BEGIN", "ROLLBACK", "PREPARE TRANSACTION":
			for _, rows := range levels {
				switch verb {
				case "ROLLBACK":
				case "PREPARE TRANSACTION":
					for n, count := range rows {
						prepared[n] += count
					}
				default:
					commit(rows)
				}
			}
			levels = []map[nonce]int{{}}
		case "COMMIT PREPARED":
			commit(prepared)
		default:
			if s.code == "" {
				top[s.nonce()] += s.rowsNow() + s.late
			}
		}
	}
	for _, rows := range levels {
		commit(rows)
	}
	return sum
}
