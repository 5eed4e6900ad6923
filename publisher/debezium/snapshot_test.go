package debezium

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// What Debezium's source block says of a row that a snapshot has read.
func TestSnapshotSource(t *testing.T) {
	relation := &pgoutput.Relation{OID: 1, Schema: "s", Name: "t", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: 23, Key: true}}}
	for mark, want := range map[outbox.SnapshotMark]string{
		outbox.MarkFirst:       `"first" "[null,\"4096\"]" 7 4096`,
		outbox.MarkTrue:        `"true" "[null,\"4096\"]" 7 4096`,
		outbox.MarkLastOfTable: `"last_in_data_collection" "[null,\"4096\"]" 7 4096`,
		outbox.MarkIncremental: `"incremental" "[null,null]" null null`,
	} {
		tx := &outbox.Transaction{XID: 7, EndLSN: 4096, CommitTime: time.UnixMicro(1795222033346182), Changes: []outbox.Change{{
			Op: outbox.Read, Note: -1, LSN: 4096, Relation: relation, Mark: mark, New: pgoutput.Tuple("\x00\x01t\x00\x00\x00\x011"),
		}}}
		if mark == outbox.MarkIncremental {
			tx.XID = 0
		}
		b := testBatch()
		e := New(Config{Prefix: "p", Database: "d", TransactionMetadata: true})
		if err := e.Append(t.Context(), &b, tx, 0); err != nil {
			t.Fatal(err)
		}
		var value struct {
			Op                 string
			Before, After      map[string]int
			Transaction, Pgtee any
			Source             struct {
				Snapshot, Sequence, TxID, LSN json.RawMessage
				TSUs                          int64 `json:"ts_us"`
			}
		}
		records := b.Records()
		if len(records) != 1 || records[0].Topic != "p.s.t" || string(records[0].Key) != `{"id":1}` {
			t.Fatalf("records %v", records)
		}
		if err := json.Unmarshal(records[0].Value, &value); err != nil {
			t.Fatal(err)
		}
		s := value.Source
		if got := fmt.Sprintf("%s %s %s %s", s.Snapshot, s.Sequence, s.TxID, s.LSN); got != want {
			t.Errorf("%s: %s, want %s", mark, got, want)
		}
		if value.Op != "r" || value.Before != nil || value.After["id"] != 1 || value.Transaction != nil || s.TSUs != 1795222033346182 || !strings.Contains(fmt.Sprint(value.Pgtee), "via:snapshot") {
			t.Errorf("%s: %s", mark, records[0].Value)
		}
	}
}

// The record that empties the topic of a resync is in no transaction: none would end.
func TestEmptyingIsInNoTransaction(t *testing.T) {
	relation := &pgoutput.Relation{OID: 1, Schema: "s", Name: "t", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: 23, Key: true}}}
	tx := &outbox.Transaction{CommitLSN: 4096, EndLSN: 4096, Changes: []outbox.Change{{Op: outbox.Truncate, Note: -1, LSN: 4096, Relation: relation, Mark: outbox.MarkIncremental}}}
	b := testBatch()
	if err := New(Config{Prefix: "p", Database: "d", TransactionMetadata: true}).Append(t.Context(), &b, tx, 0); err != nil {
		t.Fatal(err)
	}
	var value struct{ Transaction any }
	if records := b.Records(); len(records) != 1 || json.Unmarshal(records[0].Value, &value) != nil || value.Transaction != nil {
		t.Errorf("records %v", records)
	}
}
