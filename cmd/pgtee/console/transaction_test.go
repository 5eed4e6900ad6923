package console

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	published "github.com/pgtee/pgtee/publisher/record"
)

// TestTransactionAndRow follows a row from its transaction to its history: who, statement, diff, places, blame.
func TestTransactionAndRow(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 3)
	bea := who{"bea", "desk", "10.0.0.8:1"}
	f.write(ann, "INSERT", "insert into orders values ($1, $2)", "public.orders", `{"id":7}`, "null", `{"id":7,"state":"new","total":12}`)
	f.write(ann, "INSERT", "insert into orders values ($1, $2)", "public.orders", `{"id":8}`, "null", `{"id":8,"state":"new","total":3}`)
	id := f.write(bea, "UPDATE", "update orders set state = $1", "public.orders", `{"id":7}`, `{"id":7,"state":"new","total":12}`, `{"id":7,"state":"paid","total":12}`)

	live := f.page("/live")
	f.expect(live, "insert into orders", "bea", "10.0.0.8:1", `data-after="0:6"`)
	link := "/transaction?at=0.4&amp;id=" + strings.ReplaceAll(id, "/", "%2F")
	f.expect(live, link)

	for _, path := range []string{strings.ReplaceAll(link, "&amp;", "&"), "/transaction?id=" + id, "/transaction?at=0.0&id=" + id} {
		page := f.page(path)
		f.expect(page, "update orders set state = $1", "<b>bea</b>", `<td class="before">new</td><td class="after">paid</td>`, "offset 4", "verified", `1 column unchanged`)
		if strings.Contains(page, "Not all rows were found") {
			t.Errorf("%s: rows are missing:\n%s", path, page)
		}
	}
	for _, key := range []string{"7", `{"id":7}`, "id=7", `{ "id" : 7 }`} {
		page := f.page("/row?table=orders&key=" + strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", " ", "%20", "=", "%3D").Replace(key))
		f.expect(page, "2 changes", "update orders set state = $1", "2025-01-31 12:00:00.000")
		blame := page[strings.Index(page, `class="blame`):strings.Index(page, "2 changes")]
		rows := strings.Split(blame, "<tr>")[2:]
		if len(rows) != 3 || !strings.Contains(rows[0], "<b>ann</b>") || !strings.Contains(rows[1], "<b>bea</b>") || !strings.Contains(rows[2], "<b>ann</b>") {
			t.Errorf("key %s: the blame is %s", key, blame)
		}
	}
	id = f.write(ann, "UPDATE", "update without its row before", "public.orders", `{"id":8}`, "null", `{"id":8,"state":"lost","total":3}`)
	f.expect(f.page("/transaction?id="+id), `<td class="before">new</td><td class="after">lost</td>`, "what the record before this one says")
	f.expect(f.page("/row?table=orders&key=8"), `<td class="before">new</td><td class="after">lost</td>`)
	f.write(ann, "DELETE", "delete from orders", "public.orders", `{"id":7}`, `{"id":7,"state":"paid","total":12}`, "null")
	f.expect(f.page("/row?table=orders&key=7"), "The row is gone", "3 changes")
	f.expect(f.page("/row?table=orders"), "Rows of public.orders that changed last", "2025-01-31 12:00:00.000")
	f.expect(f.page("/record?topic=shop.public.orders&partition=0&offset=0")+f.page("/streams"), "100.0 %")
	f.expect(f.page("/tables"), "shop.public.orders")
}

// giant publishes a transaction that became visible in two parts: rows of two tables, then its audit record.
func (f *fixture) giant(rows int, tables ...string) (id string) {
	f.Helper()
	f.lsn++
	id = fmt.Sprintf("7300/pgtee/1/0/%X", 0x1000+f.lsn*64)
	var counts []string
	ordinal := 0
	for _, table := range tables {
		schema, name, _ := strings.Cut(table, ".")
		var part []*kgo.Record
		for n := range rows {
			row := fmt.Sprintf(`{"before":null,"after":{"id":%d},"source":{"schema":%q,"table":%q,"txId":77},"op":"c","pgtee":{"session":%s,"statement":{"number":1,"command":"COPY"}}}`, n, schema, name, ann.session())
			part = append(part, record(published.TopicName(prefix, table), fmt.Sprintf(`{"id":%d}`, n), row, fmt.Sprintf("%s/%d", id, ordinal)))
			ordinal++
		}
		f.commit(part...)
		counts = append(counts, fmt.Sprintf(`{"table":%q,"inserted":%d}`, table, rows))
	}
	audit := fmt.Sprintf(`{"v":1,"database":"shop","xid":77,"commit_lsn":"0/%X","parts":2,"commit_time":"2025-01-31T12:00:00Z","verified":true,"session":%s,"statements":[{"number":1,"command":"COPY","rows":%d}],"tables":[%s]}`,
		0x1000+f.lsn*64, ann.session(), ordinal, strings.Join(counts, ","))
	f.commit(record(prefix+".audit", "652f", audit, id+"/audit"))
	return id
}

// TestGiant: page after page, each row of a large transaction is found once, however much its topic holds from before.
func TestGiant(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 3)
	f.make("shop.public.lines", 1)
	filler := strings.Repeat("x", 1<<19)
	for n := range maxReadBytes/len(filler) + 10 {
		f.commit(record("shop.public.orders", fmt.Sprint(n), filler, fmt.Sprintf("7300/pgtee/1/0/%X/0", n)))
	}
	const rows = 250
	id := f.giant(rows, "public.orders", "public.lines")
	f.write(ann, "INSERT", "a later one", "public.orders", `{"id":1}`, "null", `{"id":1}`)
	rowLink := regexp.MustCompile(`<h3>.*?href="(/row[^"]+)"`)
	moreLink := regexp.MustCompile(`<a href="([^"]+)">Look further back</a>`)
	seen, pages := map[string]bool{}, 0
	for path := "/transaction?id=" + id; path != ""; pages++ {
		page := f.page(path)
		for _, row := range rowLink.FindAllStringSubmatch(page, -1) {
			if seen[row[1]] {
				t.Fatalf("page %d shows %s again", pages, row[1])
			}
			seen[row[1]] = true
		}
		if strings.Contains(page, "were not found") {
			t.Errorf("page %d misses rows", pages)
		}
		path = ""
		if more := moreLink.FindStringSubmatch(page); more != nil {
			path = strings.ReplaceAll(more[1], "&amp;", "&")
		}
	}
	if len(seen) != 2*rows || pages > 5 {
		t.Errorf("%d pages show %d rows, want %d", pages, len(seen), 2*rows)
	}
}
