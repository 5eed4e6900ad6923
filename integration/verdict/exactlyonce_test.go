package verdict

import (
	"fmt"
	"strings"
	"testing"
)

// Each fault that the checker must see, done to topics that are right.
func TestCheckSeesEachFault(t *testing.T) {
	row := func(id int) Row { return Row{"id": id, "stmt": fmt.Sprintf("n%d", id)} }
	change := func(op byte, id int, pid int32) RowChange {
		c := RowChange{Table: "work.item", Op: op, PID: pid, User: "ann", Application: "a", Query: fmt.Sprintf("SELECT note(); INSERT n%d", id)}
		if op != 'D' {
			c.New = row(id)
		}
		if op != 'I' {
			c.Old = row(id)
		}
		return c
	}
	truth := &Truth{Keys: map[string][]string{"work.item": {"id"}}, Commits: []Commit{
		{XID: 7, LSN: "0/70", Changes: []RowChange{change('I', 1, 10), change('I', 2, 10)}},
		{XID: 6, LSN: "0/80", Changes: []RowChange{change('U', 1, 20), change('D', 1, 20)}},
	}}
	record := func(end string, ordinal string, id int, op string, pid int) Record {
		value := fmt.Sprintf(`{"op":%q,"before":null,"after":{"id":%d,"stmt":"n%d"},"source":{"txId":1},"pgtee":{"session":{"id":"s%d","user":"ann","application":"a","pid":%d},"statement":{"text":"INSERT n%d"},"via":"proxy","verified":true}}`,
			op, id, id, pid, pid, id)
		if op == "" {
			value = ""
		}
		r := Record{Key: fmt.Appendf(nil, `{"id":%d}`, id), Value: []byte(value), Headers: map[string]string{"pgtee-event-id": "1/s/1/" + end + "/" + ordinal}}
		if op == "" {
			r.Value = nil
		}
		return r
	}
	right := func() []Record {
		return []Record{record("0/70", "0", 1, "c", 10), record("0/70", "1", 2, "c", 10),
			record("0/80", "0", 1, "u", 20), record("0/80", "1", 1, "d", 20), record("0/80", "1.1", 1, "", 20)}
	}
	edit := func(i int, old, new string) func([]Record) []Record {
		return func(r []Record) []Record {
			r[i].Value = []byte(strings.Replace(string(r[i].Value), old, new, 1))
			return r
		}
	}
	cases := []struct {
		name  string
		fault func([]Record) []Record
		want  string
	}{
		{"none", func(r []Record) []Record { return r }, "lost=0 duplicated=0 reordered=0 misattributed=0 unattributed=0 invented=0"},
		{"event lost", func(r []Record) []Record { return r[:4] }, "lost=1 duplicated=0 reordered=0 misattributed=0 unattributed=0 invented=0"},
		{"transaction lost", func(r []Record) []Record { return r[2:] }, "lost=2 duplicated=0 reordered=0 misattributed=0 unattributed=0 invented=0"},
		{"published again", func(r []Record) []Record { return append(r, r[4]) }, "lost=0 duplicated=2 reordered=0 misattributed=0 unattributed=0 invented=0"},
		{"published again with another id", func(r []Record) []Record { return append(r, record("0/80", "2", 1, "u", 20)) }, "lost=0 duplicated=1 reordered=0 misattributed=0 unattributed=0 invented=0"},
		{"commits swapped", func(r []Record) []Record { return []Record{r[2], r[3], r[4], r[0], r[1]} }, "lost=0 duplicated=0 reordered=2 misattributed=0 unattributed=0 invented=0"},
		{"changes of a key swapped", func(r []Record) []Record { return []Record{r[0], r[1], r[3], r[4], r[2]} }, "lost=0 duplicated=0 reordered=1 misattributed=0 unattributed=0 invented=0"},
		{"rolled-back row", func(r []Record) []Record { return append(r, record("0/90", "0", 3, "c", 10)) }, "lost=0 duplicated=0 reordered=0 misattributed=0 unattributed=0 invented=1"},
		{"rolled-back delete", func(r []Record) []Record {
			return append(r, record("0/90", "0", 3, "d", 10), record("0/90", "0.1", 3, "", 10))
		}, "lost=0 duplicated=0 reordered=0 misattributed=0 unattributed=0 invented=2"},
		{"published three times", func(r []Record) []Record {
			return append(r, record("0/80", "2", 1, "u", 20), record("0/80", "3", 1, "u", 20))
		}, "lost=0 duplicated=2 reordered=0 misattributed=0 unattributed=0 invented=0"},
		{"altered value", edit(0, `"stmt":"n1"`, `"stmt":"n9"`), "lost=1 duplicated=0 reordered=0 misattributed=0 unattributed=0 invented=1"},
		{"another user", edit(0, "ann", "bob"), "lost=0 duplicated=0 reordered=0 misattributed=1 unattributed=0 invented=0"},
		{"another backend", edit(1, `"pid":10`, `"pid":20`), "lost=0 duplicated=0 reordered=0 misattributed=1 unattributed=0 invented=0"},
		{"another session", edit(1, `"id":"s10"`, `"id":"s20"`), "lost=0 duplicated=0 reordered=0 misattributed=1 unattributed=0 invented=0"},
		{"another statement", edit(1, "INSERT n2", "INSERT n1"), "lost=0 duplicated=0 reordered=0 misattributed=1 unattributed=0 invented=0"},
		{"not verified", edit(1, `"verified":true`, `"verified":false`), "lost=0 duplicated=0 reordered=0 misattributed=1 unattributed=0 invented=0"},
		{"nobody named", edit(1, `"via":"proxy"`, `"via":"direct"`), "lost=0 duplicated=0 reordered=0 misattributed=0 unattributed=1 invented=0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			verdict, err := Check(truth, map[string][]Record{"work.item": c.fault(right())})
			if err != nil {
				t.Fatal(err)
			}
			if got, _, _ := strings.Cut(verdict.String(), "\n"); got != "transactions=2 events=5 "+c.want {
				t.Errorf("verdict is\n%s\nwant\n%s", verdict, c.want)
			}
		})
	}
	verdict, err := Check(truth, nil)
	if err != nil || verdict.Lost != 5 {
		t.Errorf("without topics: %v, %v; want lost=5", verdict, err)
	}
}
