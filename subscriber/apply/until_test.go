package apply

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transactionAt returns an event of a transaction.
func transactionAt(commit LSN, xid int) event {
	value := fmt.Sprintf(`{"source":{"ts_us":%d,"txId":%d}}`, int(commit)*1000, xid)
	return event{place: place{commit: commit}, record: &kgo.Record{Value: []byte(value)}, from: &partition{}}
}

// eventsOf returns transactions with the ids commit/100, and a row of a snapshot after each.
func eventsOf(commits ...LSN) func() (event, bool, error) {
	var list []event
	for _, commit := range commits {
		row := event{place: place{commit: commit, ordinal: behind}, snapshot: []byte("x")}
		list = append(list, transactionAt(commit, int(commit/100)), transactionAt(commit, int(commit/100)), row)
	}
	return func() (e event, ok bool, err error) {
		if len(list) == 0 {
			return e, false, nil
		}
		e, list = list[0], list[1:]
		return e, true, nil
	}
}

// A transaction is looked for before anything is written: a target that has later ones, or an id that no transaction has, is refused.
func TestUntilATransaction(t *testing.T) {
	ctx, cfg := t.Context(), &Config{}
	for _, c := range []struct {
		commits   []LSN
		at        LSN // position of the target
		past, has bool
	}{
		{[]LSN{100, 200, 300}, 0, false, true},
		{[]LSN{100, 200, 300}, 201, false, true},
		{[]LSN{100, 200, 300}, 250, false, true}, // nothing has committed in between
		{[]LSN{100, 200, 300}, 301, true, true},
		{[]LSN{100, 200}, 5000, false, true},
		{[]LSN{100, 300}, 0, false, false},
	} {
		u := &Until{XID: 2}
		err := u.find(ctx, cfg, eventsOf(c.commits...))
		if isHalt(err) == c.has || u.before(c.at) != c.past {
			t.Errorf("%v at %d: past %v (%v)", c.commits, c.at, u.before(c.at), err)
		}
		if !c.has {
			continue
		}
		for _, commit := range c.commits {
			if reached, err := u.reached(ctx, cfg, transactionAt(commit, 0)); err != nil || reached != (commit == 300) {
				t.Errorf("%v: reached at %d: %v, %v", c.commits, commit, reached, err)
			}
		}
	}
}

// A moment is looked for in what Avro records say, too; a record that says nothing of its commit is not a reason to try again.
func TestCommitOf(t *testing.T) {
	cfg := &Config{Avro: func(_ context.Context, framed []byte) ([]byte, error) { return framed[5:], nil }}
	for value, halts := range map[string]bool{
		`{"source":{"ts_us":1735689600000000,"txId":7}}`:                          false,
		"\x00\x00\x00\x00\x01" + `{"source":{"ts_us":1735689600000000,"txId":7}}`: false,
		`{"source":{"ts_us":null}}`:                                               true,
	} {
		e := event{record: &kgo.Record{Topic: "shop.t", Offset: 5, Value: []byte(value)}, from: &partition{}}
		at, xid, err := cfg.commitOf(context.Background(), e)
		switch {
		case halts:
			if !isHalt(err) || !strings.Contains(err.Error(), "topic shop.t, partition 0, offset 5") {
				t.Errorf("%q: %v", value, err)
			}
		case err != nil || xid != 7 || !at.Equal(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)):
			t.Errorf("%q: %v, %d, %v", value, at, xid, err)
		}
	}
}

// A row that a snapshot has read at the cut shows what committed before it.
func TestUntilWhereASnapshotHasRead(t *testing.T) {
	u := &Until{LSN: 100}
	e := transactionAt(100, 1)
	if reached, err := u.reached(t.Context(), &Config{}, e); err != nil || !reached {
		t.Errorf("a transaction that commits there is before it (%v)", err)
	}
	e.snapshot = []byte("x")
	if reached, err := u.reached(t.Context(), &Config{}, e); err != nil || reached {
		t.Errorf("a row that was read there is not before it (%v)", err)
	}
}

func TestParseUntilAnEventAfterARepair(t *testing.T) {
	if u, err := ParseUntil("before:1/pgtee/2.1/0/64/12"); err != nil || u.Before != 100 {
		t.Errorf("%+v, %v", u, err)
	}
}
