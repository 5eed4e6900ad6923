package publisher

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// pages is a table of the simulated database with REPLICA IDENTITY FULL and no key, read by ctid: its rows have few different values. Which of several
// equal rows was deleted is not in the log, so the topic is not the table: a reader can know how many copies of a row were published, and that none
// follows the DELETE of the last one.
type pages struct {
	rows  map[int]int  // by place: the page; what new snapshots see
	held  map[int]bool // places of rows that a transaction deletes
	last  int          // highest place
	state map[int]int  // by page: its rows, of the transactions that the position covers

	published map[int]int // by page: records that add a row, since the topic was last emptied
	deleted   map[int]int // and those that delete one
	read      map[int]int // by page: rows of chunks in the latest Kafka transaction
}

const (
	pagesPlace = 2 // its table is behind shopTables
	pageKinds  = 6
	pageRows   = 30
	keptPages  = 2 // the first pages are never deleted
)

var pagesTable = &pgoutput.Relation{OID: 20000 + pagesPlace, Schema: "public", Name: "pages", Identity: 'f', Columns: []pgoutput.Column{{Name: "page", Type: 23, Key: true}}}

func shopRelation(oid uint32) *pgoutput.Relation {
	if oid == pagesTable.OID {
		return pagesTable
	}
	return shopTables[oid-20000]
}

func pageTuple(page int) pgoutput.Tuple {
	return shopColumn(pgoutput.Tuple{0, 1}, pgoutput.Text, []byte(strconv.Itoa(page)))
}

func (p *pages) fill(w *shop) {
	*p = pages{rows: map[int]int{}, held: map[int]bool{}, state: map[int]int{}, published: map[int]int{}, deleted: map[int]int{}, read: map[int]int{}}
	for ; p.last < pageRows; p.last++ {
		page := w.random.IntN(pageKinds)
		p.rows[p.last] = page
		p.state[page]++
	}
}

// change inserts a row, or deletes or moves one.
func (p *pages) change(w *shop, tx *shopTx) {
	var c outbox.Change
	if places := slices.Sorted(maps.Keys(p.rows)); len(places) > pageRows || w.chance(3) {
		place := places[w.random.IntN(len(places))]
		page := p.rows[place]
		if page < keptPages || p.held[place] {
			return
		}
		p.held[place] = true
		c.Op, c.OldKind, c.Old = outbox.Delete, 'O', pageTuple(page)
		tx.effects = append(tx.effects, func() { delete(p.rows, place) })
	}
	if c.Op == 0 || w.chance(3) {
		page, place := w.random.IntN(pageKinds), p.last
		if p.last++; len(p.rows) > pageRows { // the kept ones must not fill the table
			page = max(page, keptPages)
		}
		c.New = pageTuple(page)
		tx.effects = append(tx.effects, func() { p.rows[place] = page })
		if c.Op = outbox.Insert; c.Old != nil {
			c.Op = outbox.Update
		}
	}
	c.Note, c.Relation = -1, pagesTable
	tx.changes = append(tx.changes, c)
}

func (p *pages) apply(c *outbox.Change) {
	if c.Old != nil {
		p.state[pageOf(c.Old)]--
	}
	if c.New != nil {
		p.state[pageOf(c.New)]++
	}
}

func pageOf(t pgoutput.Tuple) int {
	c := t.Columns()
	c.Next()
	page, _ := strconv.Atoi(string(c.Value()))
	return page
}

func (p *pages) fold(v *shopRecord) {
	switch v.Op {
	case "T":
		clear(p.published)
		clear(p.deleted)
		return
	case "r":
		p.read[v.ID]++
	case "U", "D":
		p.deleted[v.Old]++
	}
	if v.Op != "D" {
		p.published[v.ID]++
	}
}

// check says which page has more rows in a chunk than the table had left by then.
func (p *pages) check() {
	for page, n := range p.read {
		if n > p.state[page] {
			panic(violation(fmt.Sprintf("%d rows of page %d are published from chunks, of %d that exist", n, page, p.state[page])))
		}
	}
	clear(p.read)
}

// complete says of which page rows were never published. Each DELETE may cost one more copy: see the limits in SNAPSHOT.md.
func (p *pages) complete(rows map[int]int) {
	if err := p.missing(rows); err != nil {
		panic(violation(err.Error()))
	}
}

func (p *pages) missing(rows map[int]int) error {
	for page, n := range rows {
		if p.published[page]+p.deleted[page] < n {
			return fmt.Errorf("%d records have added rows of page %d, and %d removed them; there are %d", p.published[page], page, p.deleted[page], n)
		}
	}
	return nil
}

// compare is complete for the table at the end.
func (p *pages) compare() error {
	rows := map[int]int{}
	for _, page := range p.rows {
		rows[page]++
	}
	return p.missing(rows)
}
