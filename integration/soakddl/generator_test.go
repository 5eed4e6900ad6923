package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// script plays a generator to a time, cut into pieces of that length, and returns its steps.
func script(seed int64, session int, length, piece time.Duration) (steps []step) {
	g := newGenerator(seed, session)
	var episodes []episode
	for until := piece; until <= length; until += piece {
		episodes = append(episodes, cut(g, until)...)
	}
	for _, e := range append(episodes, g.last()) {
		steps = append(steps, e.steps...)
	}
	return steps
}

func TestScriptsDependOnSeedAndSessionAlone(t *testing.T) {
	for session := range migrators + writers {
		one, other := script(7, session, 4*time.Minute, 30*time.Second), script(7, session, 4*time.Minute, 30*time.Second)
		if !reflect.DeepEqual(one, other) {
			t.Errorf("session %d: two scripts of one seed differ", session)
		}
		if reflect.DeepEqual(one, script(8, session, 4*time.Minute, 30*time.Second)) {
			t.Errorf("session %d: the scripts of two seeds are the same", session)
		}
	}
}

// TestScriptsEndWhatTheyBegin follows transactions and prepared ones through each script.
func TestScriptsEndWhatTheyBegin(t *testing.T) {
	for session := range migrators + writers {
		inside, prepared := false, map[string]bool{}
		for i, s := range script(3, session, 10*time.Minute, time.Minute) {
			_, gid, _ := strings.Cut(s.sql, "'")
			switch s.kind {
			case "BEGIN":
				if inside {
					t.Fatalf("session %d: BEGIN in a transaction at statement %d", session, i)
				}
				inside = true
			case "COMMIT", "ROLLBACK":
				inside = false
			case "PREPARE TRANSACTION":
				inside, prepared[gid] = false, true
			case "COMMIT PREPARED", "ROLLBACK PREPARED":
				if !prepared[gid] {
					t.Fatalf("session %d: %s at statement %d ends nothing", session, s.sql, i)
				}
				delete(prepared, gid)
			}
			if inside && (strings.Contains(s.sql, "CONCURRENTLY") || strings.HasPrefix(s.sql, "VACUUM")) {
				t.Fatalf("session %d: %s in a transaction at statement %d", session, s.sql, i)
			}
		}
		if inside || len(prepared) > 0 {
			t.Errorf("session %d leaves open: transaction %v, prepared %v", session, inside, prepared)
		}
	}
}

// TestScriptsDoEverything looks for each kind of statement that a soak is meant to have.
func TestScriptsDoEverything(t *testing.T) {
	kinds := map[string]int{}
	for session := range migrators + writers {
		for _, s := range script(1, session, 15*time.Minute, time.Minute) {
			kinds[s.kind]++
		}
	}
	for _, kind := range []string{
		"INSERT", "UPDATE", "DELETE", "TRUNCATE", "SCRIPT", "DO", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "ROLLBACK TO", "RELEASE", "PREPARE TRANSACTION",
		"COMMIT PREPARED", "ROLLBACK PREPARED", "CREATE TABLE", "CREATE TABLE AS", "SELECT INTO", "CREATE TABLE LIKE", "CREATE TABLE INHERITS",
		"CREATE TABLE PARTITION OF", "ATTACH PARTITION", "DETACH PARTITION", "DETACH PARTITION CONCURRENTLY", "DROP TABLE", "ALTER TABLE RENAME",
		"ALTER TABLE ADD COLUMN", "ALTER TABLE DROP COLUMN", "ALTER TABLE RENAME COLUMN", "ALTER TABLE ALTER TYPE", "ALTER TABLE ADD GENERATED",
		"ALTER TABLE DROP PRIMARY KEY", "ALTER TABLE ADD PRIMARY KEY", "ALTER TABLE CHANGE PRIMARY KEY", "ALTER TABLE REPLICA IDENTITY",
		"CREATE INDEX", "CREATE INDEX CONCURRENTLY", "DROP INDEX", "DROP INDEX CONCURRENTLY", "ALTER SCHEMA RENAME", "ALTER TABLE SET SCHEMA",
		"VACUUM", "VACUUM FULL", "CLUSTER", "REINDEX", "REINDEX CONCURRENTLY", "ANALYZE", "ALTER TABLE SET UNLOGGED",
	} {
		if kinds[kind] < 20 {
			t.Errorf("%d statements of kind %s, want 20", kinds[kind], kind)
		}
	}
	t.Log(kinds)
}
