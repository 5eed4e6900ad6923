package main

import (
	"fmt"
	"strings"
	"testing"
)

// The nonces of two statements of one session, and of one that is rolled back.
const (
	mine      = firstNonce + 3*perSession + 17
	others    = mine + 1
	backed    = mine + 2
	strangers = firstNonce + 4*perSession
)

// formNamed finds one in the table.
func formNamed(t *testing.T, name string) *form {
	for i := range forms {
		if forms[i].name == name {
			return &forms[i]
		}
	}
	t.Fatalf("no form %s", name)
	return nil
}

// record is one of a topic as the publisher writes it.
func record(table, before, after, pgtee string) string {
	op := map[bool]string{true: "d", false: "c"}[after == "null"]
	return fmt.Sprintf(`{"before":%s,"after":%s,"source":{"schema":"work","table":"%s","lsn":1},"op":"%s","ts_ms":1,"pgtee":%s}`, before, after, table, op, pgtee)
}

func entry(n nonce, late bool) string { return fmt.Sprintf(`{"n":%d,"late":%v}`, n, late) }

// by is the pgtee block of a statement of a session.
func by(session int, text string) string {
	return fmt.Sprintf(`{"session":{"id":"1","application":"s%d"},"statement":{"number":1,"command":"INSERT","text":%q},"via":"proxy","verified":true}`, session, text)
}

const direct = `{"session":null,"statement":null,"via":"direct","verified":null,"reason":"no note"}`

// judged has a judge look at the records of a form in a place, of which two rows and one at COMMIT are expected.
func judged(t *testing.T, form string, p place, records ...string) *tally {
	j := newJudge("15 table")
	f := formNamed(t, form)
	j.expect([]expectation{
		{nonce: mine, form: f, place: p, sql: "mine", rows: 2, late: 1},
		{nonce: backed, form: f, place: p, sql: "rolled back"},
	})
	for _, text := range records {
		e, err := read([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		j.add(&e)
	}
	j.finish()
	all := newTally()
	all.merge(j.tally)
	return all
}

func TestJudge(t *testing.T) {
	own := by(3, fmt.Sprintf("INSERT INTO work.entry VALUES (%d)", mine))
	bound := by(3, fmt.Sprintf("INSERT /* n=%d */ INTO work.entry VALUES ($1::bigint)", mine))
	another := by(3, fmt.Sprintf("INSERT INTO work.entry VALUES (%d)", others))
	both := by(3, fmt.Sprintf("INSERT INTO work.entry VALUES (%d), (%d)", mine, others))
	textless := strings.Replace(own, fmt.Sprintf("%q", fmt.Sprintf("INSERT INTO work.entry VALUES (%d)", mine)), "null", 1)
	rowOf := func(pgtee string) string { return record("entry", "null", entry(mine, false), pgtee) }
	late := func(pgtee string) string { return record("entry", "null", entry(mine, true), pgtee) }
	fine := []string{rowOf(own), rowOf(bound), late(own)}
	for _, tt := range []struct {
		name    string
		form    string
		records []string

		right, unknown, wrong           int
		forbidden, missing, extra, fail int
	}{
		{"all right", "INSERT", fine, 3, 0, 0, 0, 0, 0, 0},
		{"another statement", "INSERT", []string{rowOf(own), rowOf(another), late(own)}, 2, 0, 1, 0, 0, 0, 1},
		{"another statement for what may be unknown", "policy", []string{rowOf(own), rowOf(another), late(own)}, 2, 0, 1, 0, 0, 0, 1},
		{"another statement at COMMIT", "INSERT", []string{rowOf(own), rowOf(own), late(another)}, 2, 0, 1, 0, 0, 0, 1},
		{"a text of two statements", "INSERT", []string{rowOf(own), rowOf(both), late(own)}, 2, 0, 1, 0, 0, 0, 1},
		{"COMMIT", "INSERT", []string{rowOf(own), rowOf(by(3, "COMMIT")), late(own)}, 2, 0, 1, 0, 0, 0, 1},
		{"another session", "INSERT", []string{rowOf(own), rowOf(strings.Replace(own, `"s3"`, `"s4"`, 1)), late(own)}, 2, 0, 1, 0, 0, 0, 1},
		{"no statement", "INSERT", []string{rowOf(own), rowOf(direct), late(own)}, 2, 1, 0, 1, 0, 0, 1},
		{"no text", "INSERT", []string{rowOf(own), rowOf(textless), late(own)}, 2, 1, 0, 1, 0, 0, 1},
		{"no statement where none need be", "policy", []string{rowOf(direct), rowOf(direct), late(own)}, 1, 2, 0, 0, 0, 0, 0},
		{"no statement at COMMIT", "INSERT", []string{rowOf(own), rowOf(own), late(direct)}, 2, 1, 0, 0, 0, 0, 0},
		{"one row is missing", "INSERT", fine[1:], 2, 0, 0, 0, 1, 0, 1},
		{"all are missing", "INSERT", nil, 0, 0, 0, 0, 3, 0, 1},
		{"one row too many", "INSERT", append(fine[:3:3], rowOf(own)), 3, 0, 0, 0, 0, 1, 1},
		{"what was rolled back", "INSERT", append(fine[:3:3], record("entry", "null", entry(backed, false), own)), 3, 0, 0, 0, 0, 1, 1},
		{"what nobody has written", "INSERT", append(fine[:3:3], record("entry", "null", entry(strangers, false), own)), 3, 0, 0, 0, 0, 1, 1},
		{"keys tell the nonce", "INSERT", []string{
			record("gone", fmt.Sprintf(`{"k":%d,"n":%d}`, mine.key(), others), "null", own), record("leaf", "null", fmt.Sprintf(`{"id":7,"k":%d}`, mine.key()), own), late(own),
		}, 3, 0, 0, 0, 0, 0, 0},
		{"what is left of a row that got another key", "INSERT", append(fine[:3:3], record("parent", `{"k":5,"n":null}`, "null", another)), 3, 0, 0, 0, 0, 0, 0},
	} {
		all := judged(t, tt.form, behind, tt.records...)
		sum := all.total()
		got := []int{sum.rows[right], sum.rows[unknown], sum.rows[wrong], sum.forbade, all.absent, all.extra}
		want := []int{tt.right, tt.unknown, tt.wrong, tt.forbidden, tt.missing, tt.extra}
		if fmt.Sprint(got) != fmt.Sprint(want) || (all.verdict() != nil) != (tt.fail == 1) {
			t.Errorf("%s: right, unknown, wrong, forbidden, missing, too many are %v, want %v; %v", tt.name, got, want, all.verdict())
		}
	}
}

// TestTableShowsExamples looks for what is wrong in what a run prints.
func TestTableShowsExamples(t *testing.T) {
	all := judged(t, "function", behind, record("entry", "null", entry(mine, false), by(3, "DELETE 1")), record("entry", "null", entry(mine, false), direct))
	table := all.table()
	for _, want := range []string{"function, behind in block", `names "DELETE 1"`, `names "via direct"`} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
	if want := "attribution rows=2 right=0 unknown=1 wrong=1"; all.closing() != want {
		t.Errorf("the closing line is %q, want %q", all.closing(), want)
	}
}

func TestJudgeHearsAnAlarm(t *testing.T) {
	own := by(3, fmt.Sprintf("INSERT INTO work.entry VALUES (%d)", mine))
	fine, forged := record("entry", "null", entry(mine, false), own), record("entry", "null", entry(mine, true), strings.Replace(own, `"verified":true`, `"verified":false`, 1))
	if all := judged(t, "INSERT", behind, fine, fine, forged); all.alarms != 1 || all.verdict() == nil {
		t.Errorf("%d alarms, want one; %v", all.alarms, all.verdict())
	}
}

// TestUnitsThatAreGivenUpAreToldOf looks for them in the verdict; their rows are judged, not counted.
func TestUnitsThatAreGivenUpAreToldOf(t *testing.T) {
	j := newJudge("15 table")
	expected := []expectation{{nonce: mine, form: formNamed(t, "INSERT"), place: alone, rows: 1}}
	j.expect(expected)
	j.giveUp(expected, "the server has gone")
	j.finish()
	if err := j.tally.verdict(); err == nil || j.tally.absent != 0 || len(j.tally.broken) != 1 {
		t.Errorf("verdict %v, %d missing, broken %q", err, j.tally.absent, j.tally.broken)
	}
}
