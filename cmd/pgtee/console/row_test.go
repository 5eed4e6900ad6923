package console

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/outbox"
	published "github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// TestRowInAnotherPartition: the history of a row that was written before partitions were added is not claimed to be complete without the others.
func TestRowInAnotherPartition(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 4)
	const key = `{"id":7}`
	direct, err := kgo.NewClient(kgo.SeedBrokers(f.broker.Address()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	old := record("shop.public.orders", key, `{"before":null,"after":{"id":7,"state":"first"},"source":{"schema":"public","table":"orders"},"op":"c"}`, "7300/pgtee/1/0/10/0")
	old.Partition = (partitionOf("shop.public.orders", []byte(key), 4) + 1) % 4
	if err := direct.ProduceSync(t.Context(), old).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f.write(ann, "UPDATE", "a later one", "public.orders", key, `{"id":7,"state":"first"}`, `{"id":7,"state":"paid"}`)

	page := f.page("/row?table=orders&key=7")
	f.expect(page, "1 change", "where those of this row are written now", "a later one")
	if strings.Contains(page, "every change that topic") {
		t.Error("the page claims to be complete")
	}
	link := regexp.MustCompile(`href="([^"]+)">Look in the other partitions`).FindStringSubmatch(page)
	if link == nil {
		t.Fatal("there is no link to the other partitions")
	}
	older := f.page(strings.ReplaceAll(link[1], "&amp;", "&"))
	f.expect(older, "1 change", "older changes in topic", "first", "published <time") // its record has no time of commit
	if strings.Contains(older, "Look ") || strings.Contains(older, "a later one") || strings.Contains(older, "blame") {
		t.Errorf("the page of older changes is\n%s", older)
	}
}

// TestTopicOfAnotherTable: a table whose topic has the name of another table is found in its own topic, and never shown with the rows of the other one.
func TestTopicOfAnotherTable(t *testing.T) {
	tables := []outbox.Table{{OID: 1, Schema: "public", Name: "x_y"}, {OID: 2, Schema: "public", Name: "x!y"}}
	f := newFixture(t, func(c *Config) {
		c.Streams[0].Tables = func(context.Context) ([]outbox.Table, error) { return tables, nil }
	})
	own := shape.OwnTopic("shop.public.x_y", "public.x!y", 1)
	f.make("shop.audit", 1)
	f.make("shop.public.x_y", 1)
	f.make(own, 1)
	const key = `{"id":7}`
	f.write(ann, "INSERT", "of the underscore", "public.x_y", key, "null", key)
	id := f.write(ann, "INSERT", "of the mark", "public.x!y", key, "null", key) // with a record in the topic of the other table
	f.commit(record(own, key, `{"before":null,"after":{"id":7},"source":{"schema":"public","table":"x!y"},"op":"c","pgtee":`+blockOf(ann, "true")+`}`, id+"/0"))
	for path, want := range map[string]string{
		"/row?table=public.x!y&key=7": "topic " + own, "/row?table=x_y&key=7": "topic shop.public.x_y", "/transaction?id=" + id: own, "/tables": own,
		"/row?table=public.x+y": "No row of public.x y was published yet",
	} {
		f.expect(f.page(path), want)
	}
	if page := f.page("/row?table=x_y&key=7"); strings.Contains(page, "of the mark") || !strings.Contains(page, "1 change,") {
		t.Errorf("the history has rows of another table:\n%s", page)
	}
}

// rowRecord is a record of public.orders. pgtee is its block, or "null".
func rowRecord(f *fixture, key, op, before, after, pgtee string) *kgo.Record {
	f.lsn++
	value := fmt.Sprintf(`{"before":%s,"after":%s,"source":{"ts_ms":1738324800000,"schema":"public","table":"orders"},"op":%q,"pgtee":%s}`, before, after, op, pgtee)
	return record("shop.public.orders", key, value, fmt.Sprintf("7300/pgtee/1/0/%X/0", 0x1000+f.lsn*64))
}

// blockOf is the pgtee block of a write.
func blockOf(by who, verified string) string {
	return fmt.Sprintf(`{"session":%s,"statement":{"number":1,"command":"UPDATE","text":"a statement of %s"},"via":"proxy","verified":%s}`, by.session(), by.user, verified)
}

// TestRowTrust: a name that is forged or not known for sure is never shown as a fact.
func TestRowTrust(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.public.orders", 1)
	f.make("shop.dead-letter", 1)
	const key = `{"id":7}`
	for verified, mark := range map[string]string{"true": ">verified<", "false": ">not verified<", "null": ">unproven<"} {
		t.Run(verified, func(t *testing.T) {
			f.commit(rowRecord(f, key, "u", `{"id":7,"state":"new"}`, `{"id":7,"state":"`+verified+`"}`, blockOf(ann, verified)))
			page := f.page("/row?table=orders&key=7")
			blame, changes, _ := strings.Cut(page, "the newest first")
			newest, _, _ := strings.Cut(changes, "</h4>")
			_, list, _ := strings.Cut(f.page("/row?table=orders"), "<tbody>")
			recent, _, _ := strings.Cut(list, "</tr>")
			for where, text := range map[string]string{"blame": blame, "changes": newest, "recent": recent} {
				if !strings.Contains(text, "<b>ann</b>") || !strings.Contains(text, mark) {
					t.Errorf("%s: lacks %s: %s", where, mark, text)
				}
			}
			f.commit(rowRecord(f, key, "d", `{"id":7}`, "null", blockOf(ann, verified)))
			gone, _, _ := strings.Cut(f.page("/row?table=orders&key=7"), "See the transaction")
			if !strings.Contains(gone, "<b>ann</b>") || !strings.Contains(gone, mark) {
				t.Errorf("deleted: lacks %s: %s", mark, gone)
			}
			f.commit(record("shop.dead-letter", "", `{"source":"public.orders","reason":"too large","pgtee":`+blockOf(ann, verified)+`}`, "1"))
			letter, _, _ := strings.Cut(f.page("/dead-letters"), "</tbody>")
			if !strings.Contains(letter, mark) {
				t.Errorf("dead letters: lacks %s: %s", mark, letter)
			}
		})
	}
	f.commit(rowRecord(f, key, "r", "null", `{"id":7,"state":"copied"}`, "null"), rowRecord(f, key, "u", "null", `{"id":7,"state":"direct"}`, "null"))
	f.expect(f.page("/row?table=orders&key=7"), ">snapshot<", ">direct<")
}

// emptying is a record of op t: of a TRUNCATE, or of a resync.
func emptying(f *fixture, resync, pgtee string) *kgo.Record {
	r := rowRecord(f, "", "t", "null", "null", pgtee)
	r.Key = nil
	if resync != "" {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: published.ResyncHeader, Value: []byte(resync)})
	}
	return r
}

// TestRowTruncated: a row is gone with its table, and comes back after a resync.
func TestRowTruncated(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.public.orders", 1)
	bea := who{"bea", "desk", "10.0.0.8:1"}
	const insert, copied = `{"id":7,"state":"new"}`, `{"id":7,"state":"copied"}`
	f.commit(emptying(f, "", blockOf(bea, "true")), rowRecord(f, `{"id":7}`, "c", "null", insert, blockOf(ann, "true")))
	page := f.page("/row?table=orders&key=7")
	f.expect(page, "1 change,", "Who wrote what stands in it")

	f.commit(emptying(f, "", blockOf(bea, "true")), rowRecord(f, `{"id":8}`, "c", "null", `{"id":8}`, blockOf(ann, "true")))
	page = f.page("/row?table=orders&key=7")
	f.expect(page, "its table was truncated", "<b>bea</b>", "2 changes,", ">truncate<")
	if strings.Contains(page, "Who wrote what stands in it") {
		t.Error("the row is still said to exist")
	}
	f.expect(f.page("/row?table=orders&key=8"), "1 change,") // the TRUNCATE did not concern it

	f.commit(rowRecord(f, `{"id":7}`, "c", "null", insert, blockOf(ann, "true")), emptying(f, "missed", "null"))
	f.expect(f.page("/row?table=orders&key=7"), "A resync has emptied the topic", ">resync<")
	f.commit(rowRecord(f, `{"id":7}`, "r", "null", copied, "null"))
	page = f.page("/row?table=orders&key=7")
	f.expect(page, "Who wrote what stands in it", "5 changes,")
	if strings.Contains(page, "A resync has emptied") {
		t.Error("the row is not said to be back")
	}
	f.expect(f.page("/row?table=orders"), "Rows of public.orders that changed last")
}

// blamed returns the line of a column in the blame of row 7.
func (f *fixture) blamed(column string) string {
	f.Helper()
	_, line, found := strings.Cut(f.page("/row?table=orders&key=7"), `<th scope="row">`+column+`</th>`)
	if !found {
		f.Fatalf("there is no blame of column %s", column)
	}
	line, _, _ = strings.Cut(line, "</tr>")
	return line
}

// TestBlameOfCopies: a copy of the table changes nothing, so it takes no author away.
func TestBlameOfCopies(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.public.orders", 1)
	const key = `{"id":7}`
	expect := func(column, want string) {
		t.Helper()
		if line := f.blamed(column); !strings.Contains(line, want) {
			t.Errorf("the blame of %s lacks %q: %s", column, want, line)
		}
	}
	f.commit(rowRecord(f, key, "r", "null", `{"id":7,"state":"old","note":"a"}`, "null"))
	expect("state", ">snapshot<")
	f.commit(rowRecord(f, key, "u", `{"id":7,"state":"old","note":"a"}`, `{"id":7,"state":"paid","note":"a"}`, blockOf(ann, "true")))
	f.commit(rowRecord(f, key, "r", "null", `{"id":7,"state":"paid","note":"a"}`, "null"))
	expect("state", "<b>ann</b>")
	f.commit(emptying(f, "missed", "null"), rowRecord(f, key, "r", "null", `{"id":7,"state":"paid","note":"b"}`, "null"))
	expect("state", "<b>ann</b>")
	expect("note", ">snapshot<") // whoever changed it was missed
	f.commit(emptying(f, "missed again", "null"), rowRecord(f, key, "u", "null", `{"id":7,"state":"lost","note":"b"}`, blockOf(ann, "true")))
	expect("state", "not told") // ann's statement has changed it, or another one that was missed
	f.commit(emptying(f, "", blockOf(ann, "true")), rowRecord(f, key, "r", "null", `{"id":7,"state":"lost","note":"b"}`, "null"))
	expect("state", ">snapshot<")
	f.commit(rowRecord(f, key, "u", `{"id":7,"state":"lost"}`, `{"id":7,"state":"found","note":"b"}`, blockOf(ann, "true")))
	f.commit(emptying(f, "missed", "null"), emptying(f, "", blockOf(ann, "true")), rowRecord(f, key, "r", "null", `{"id":7,"state":"found","note":"b"}`, "null"))
	expect("state", ">snapshot<") // a TRUNCATE while the resync waits
}

// TestTypedKeys: a key that somebody types becomes the bytes that are in the topic.
func TestTypedKeys(t *testing.T) {
	for _, test := range []struct{ like, typed, want string }{
		{`{"id":1}`, "7", `{"id":7}`}, {`{"id":1}`, "id = 7", `{"id":7}`}, {`{"id":1}`, `{ "id" : 7 }`, `{"id":7}`},
		{`{"name":"a"}`, "AT&T", `{"name":"AT&T"}`}, {`{"name":"a"}`, `{"name":"AT\u0026T"}`, `{"name":"AT&T"}`}, {`{"name":"a"}`, "7", `{"name":"7"}`},
		{`{"name":"a"}`, "Doe, Jane", `{"name":"Doe, Jane"}`}, {`{"name":"a"}`, "name=Doe, Jane", `{"name":"Doe, Jane"}`}, {`{"name":"a"}`, "a=b", `{"name":"a=b"}`}, {`{"name":"a"}`, `"quoted" <é>`, `{"name":"\"quoted\" <é>"}`},
		{`{"r&d":1}`, "7", `{"r&d":7}`}, {`{"tenant":"a","id":1}`, "id=7, tenant=x&y", `{"tenant":"x&y","id":7}`},
	} {
		p := rowPage{Table: "public.orders", Key: test.typed, Recent: []*change{{Key: []byte(test.like)}}}
		if key, err := p.keyBytes(); err != nil || string(key) != test.want {
			t.Errorf("%s becomes %s (%v), want %s", test.typed, key, err, test.want)
		}
	}
}
