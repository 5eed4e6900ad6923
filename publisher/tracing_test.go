package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/publisher/record"
)

// told collects what a publisher tells about its Kafka transactions.
type told struct{ all []KafkaTransaction }

func (c *told) tell(k KafkaTransaction) { c.all = append(c.all, k) }

// String returns one line for each Kafka transaction, followed by one for each of its statements.
func (c *told) String() string {
	var b strings.Builder
	for _, k := range c.all {
		fmt.Fprintf(&b, "%s-%s %d of %d omitted %d err %v\n", k.First, k.Last, k.Records, k.Transactions, k.Omitted, k.Err)
		for _, s := range k.Statements {
			fmt.Fprintf(&b, " %s %s %s.%s %d %s\n", s.Traceparent, s.Command, s.Schema, s.Table, s.Rows, s.EventID)
		}
	}
	return b.String()
}

// traced returns the SQL with a trace context of these flags.
func traced(sql, flags string) []byte {
	return []byte(sql + " /*traceparent='" + trace[:53] + flags + "'*/")
}

func tracedSale() *outbox.Transaction {
	tx := sale()
	for i, flags := range []string{"01", "00", "03", "0f"} {
		tx.Notes[i].SQL = traced(string(tx.Notes[i].SQL), flags)
	}
	tx.Changes[5].Note = 3
	return tx
}

func TestTracedStatements(t *testing.T) {
	const sampled = " " + "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
	row := sampled + "01 INSERT . 3 7300/pgtee/0/0/16B3700/1\n"
	ddl := sampled + "03 ALTER ROLE . 0 7300/pgtee/0/0/16B3700/7\n"
	last := sampled + "0f SET public.lines 1 7300/pgtee/0/0/16B3700/5\n"
	for name, c := range map[string]struct {
		change func(*outbox.Transaction)
		want   string
	}{
		"sampled": {func(*outbox.Transaction) {}, row + ddl + last},
		"a false note": {func(tx *outbox.Transaction) {
			tx.Notes[0].Trust, tx.Notes[2].Trust, tx.Notes[3].Trust = note.Forged, note.Replayed, note.Unverified
		}, last},
		"a note without a statement": {func(tx *outbox.Transaction) { tx.Notes[0].Flags |= note.FlagNameless }, ddl + last},
		"no row":                     {func(tx *outbox.Transaction) { tx.Changes[5].Note = 1 }, row + ddl + sampled + "0f SET . 0 \n"},
	} {
		tx, got := tracedSale(), &told{}
		c.change(tx)
		p := newPublisher(Config{Prefix: "shop", Trace: got.tell}.WithDefaults(), nil, nil, tableFormat{})
		p.source, p.batch = &simSource{}, record.NewBatch("7300", "pgtee")
		p.batch.Authors = p.composer.notes
		if _, err := p.compose(t.Context(), []*outbox.Transaction{tx}, Position{}, Position{}); err != nil {
			t.Fatal(err)
		}
		p.tracing.send(p.batch, p.now)
		p.tracing.end(p.since.transactions, nil, p.now)
		if want := "0/16B3700-0/16B3748 9 of 1 omitted 0 err <nil>\n" + c.want; got.String() != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		k := got.all[0]
		if s := k.Statements[0]; k.Began.IsZero() || k.Ended.Before(k.Began) || k.Bytes == 0 || s.Committed != tx.CommitTime || s.XID != 77 || s.Fingerprint != 0xfeed {
			t.Errorf("%s: %+v with %+v", name, k, s)
		}
	}
}

// The statements of an aborted Kafka transaction are told only with the one that commits.
func TestAbortedKafkaTransactionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tx, got := tracedSale(), &told{}
		cfg := testConfig()
		cfg.Trace = got.tell
		log := &memoryLog{fail: []error{nil, errors.New("Kafka is away")}}
		source := listOf(tx)
		tx.CommitLSN, tx.EndLSN = 0x100, 0x140
		p := newPublisher(cfg, func(context.Context) (Source, error) { return source, nil }, log, tableFormat{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(got.all) != 2 {
			t.Fatalf("told %s", got)
		}
		if k := got.all[0]; k.Err == nil || len(k.Statements) != 0 || k.Records == 0 || k.Transactions != 1 {
			t.Errorf("first %+v", k)
		}
		if k := got.all[1]; k.Err != nil || len(k.Statements) != 3 || k.Records != got.all[0].Records {
			t.Errorf("then %+v", k)
		}
	})
}

// A statement that goes on in the next part of a giant is told once, with the part that ends it.
func TestTracedStatementsOfAGiant(t *testing.T) {
	parts := func() []*outbox.Transaction {
		var list []*outbox.Transaction
		for i := range 3 {
			tx := sale()
			tx.Part, tx.More, tx.FirstNote = i, i < 2, i
			tx.Notes = []note.Note{tx.Notes[0], tx.Notes[0]}
			tx.Notes[0].SQL = traced(fmt.Sprintf("UPDATE t SET a = %d", i), "01")
			tx.Notes[1].SQL = traced(fmt.Sprintf("UPDATE t SET a = %d", i+1), "01")
			tx.Changes = slices.Clone(tx.Changes[1:3])
			for j := range tx.Changes {
				tx.Changes[j].Note, tx.Changes[j].Ordinal = j, 2*i+j
			}
			list = append(list, tx)
		}
		return list
	}
	for out, want := range map[int]string{0: "1 2 2 1", 2: "2 2 1", 3: "2 1", 4: "2 1"} {
		var tr tracing
		var got told
		tr.tell = got.tell
		n, b := newNotes(Off, 0), record.NewBatch("7300", "pgtee")
		for _, tx := range parts() {
			n.Begin(tx)
			tr.add(tx, n, b, out, time.Now)
		}
		tr.open.Records = 1
		tr.end(1, nil, time.Now)
		var rows []string
		for _, s := range got.all[0].Statements {
			rows = append(rows, fmt.Sprint(s.Rows))
		}
		if strings.Join(rows, " ") != want {
			t.Errorf("%d changes were out: statements with %v rows, want %s", out, rows, want)
		}
	}
}

func TestTracedStatementsAreBounded(t *testing.T) {
	tx, got := sale(), &told{}
	tx.Notes[0].SQL = traced("INSERT INTO t SELECT 1", "01")
	tx.Notes = slices.Repeat(tx.Notes[:1], maxTracedStatements+7)
	tx.Changes = tx.Changes[:1]
	tr, n := tracing{tell: got.tell}, newNotes(Off, 0)
	n.Begin(tx)
	tr.add(tx, n, &record.Batch{}, 0, time.Now)
	tr.open.Records = 1
	tr.end(1, nil, time.Now)
	if k := got.all[0]; len(k.Statements) != maxTracedStatements || k.Omitted != 7 {
		t.Errorf("%d statements, %d omitted", len(k.Statements), k.Omitted)
	}
}

// A transaction without a trace costs no allocation, whether tracing is on or off.
func TestUntracedTransactionsAllocateNothing(t *testing.T) {
	tx, n, b := sale(), newNotes(Off, 0), &record.Batch{}
	n.Begin(tx)
	for name, tell := range map[string]func(KafkaTransaction){"off": nil, "on": func(KafkaTransaction) {}} {
		tr := tracing{tell: tell}
		if got := testing.AllocsPerRun(100, func() { tr.add(tx, n, b, 0, time.Now) }); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}
