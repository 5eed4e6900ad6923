package proxy

import (
	"fmt"
	"testing"
	"time"
)

func TestTrustedOwners(t *testing.T) {
	for answer, want := range map[string]bool{
		"7,8 t t t t postgres":   true,
		"7,8 f t t t postgres":   false, // somebody else has a note() or ready() there
		"7,8 t t t f ann":        true,  // the session's own role
		"7,8 t t t f bob":        false,
		"7,8 t t t f the keeper": true,
	} {
		a := &access{&database{}, "ann", []string{"x", "the keeper"}, "", false}
		if found, _ := readSchema([]byte(answer)); a.trusts(found) != want {
			t.Errorf("%s is trusted: %v", answer, !want)
		}
	}
	for _, answer := range []string{"", "7,8 t t"} {
		if found, _ := readSchema([]byte(answer)); found != nil {
			t.Errorf("%q is an answer", answer)
		}
	}
}

// VACUUM FULL gives pg_class another file; the directory is that of the database.
func TestPlaceOfADatabase(t *testing.T) {
	for path, want := range map[string]string{
		"base/5/1259": "base/5", "base/5/16999": "base/5", "base/55/1259": "base/55", "pg_tblspc/24576/PG_15_202209061/5/1259": "pg_tblspc/24576/PG_15_202209061/5", "": "",
	} {
		if got := placeOf(path); got != want {
			t.Errorf("%s is at %q, want %q", path, got, want)
		}
	}
}

func TestDatabasesWithoutSessionsAreForgotten(t *testing.T) {
	var o outboxes
	used := o.move(o.last("server", "used"), "server", "used", "base/1")
	for i := range 3 * maxKnown {
		o.leave(o.last("server", fmt.Sprint("made ", i)))
	}
	if len(o.byName) > maxKnown || o.last("server", "used") != used {
		t.Errorf("%d databases are known, and the one with a session is known: %t", len(o.byName), o.byName["server\x00used"] == used)
	}
}

// A note that fails as if the outbox were missing proves nothing, because a client may have caused it: the next session asks.
func TestSuspectedOutbox(t *testing.T) {
	var d database
	found, now := &schema{functions: "7"}, time.Now()
	if !d.observe(found, now) {
		t.Fatal("nobody asks about an unknown schema")
	}
	d.set(found, true, now)
	if d.observe(found, now) {
		t.Error("a known schema is asked about again")
	}
	d.suspect()
	if d.outbox.Load() == nil || !d.observe(found, now) {
		t.Error("the suspicion ends the notes, or nobody asks")
	}
	d.set(found, false, now)
	if d.outbox.Load() != nil {
		t.Error("notes go on without an outbox")
	}
}
