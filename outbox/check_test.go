package outbox

import (
	"strings"
	"testing"
)

func TestIncludesStandby(t *testing.T) {
	for names, want := range map[string]bool{
		"": false, "*": true, "pgtee": true, "PgTee": true, `"pgtee"`: true, "s1, pgtee": true, "s1, s2": false, "pgtee2": false,
		"FIRST 1 (s1, *)": true, "ANY 2 (s1, s2)": false, "2(s1,pgtee)": true, "any 1 ( * )": true,
	} {
		if got := includesStandby(names, publisherName); got != want {
			t.Errorf("%q: %t", names, got)
		}
	}
}

// A repair that leaves its finding where it is says how to suppress it.
func TestRepairsThatLeaveTheFinding(t *testing.T) {
	s := serverState{version: 180000, database: "my-shop", user: "the clerk", creator: true, replication: true, installed: true, ready: "2", owner: "clerk", keepSize: -1, timescale: true,
		replicators: []string{"everything"}, walLevel: "logical", maxSlots: 10, maxSenders: 10}
	report := s.report(SetupConfig{})
	s.reportObjects(SetupConfig{}, &report)
	found := map[string]string{}
	for _, f := range report.Findings {
		found[f.ID] = f.Repair
	}
	for _, id := range []string{"wal-unbounded", "timescaledb", "outbox-replicated", "schema-owner"} {
		if !strings.Contains(found[id], "--ignore "+id) {
			t.Errorf("%s: %q does not say how to suppress it", id, found[id])
		}
	}
	if !strings.Contains(found["timescaledb"], IdentityPublication+"_N") || !strings.Contains(found["timescaledb"], `\d`) {
		t.Errorf("timescaledb: %q does not say which publication has the table", found["timescaledb"])
	}
}

// Names in commands are quoted.
func TestCreatePrivilege(t *testing.T) {
	s := serverState{version: 180000, database: "my-shop", user: "the clerk"}
	for _, f := range s.report(SetupConfig{}).Findings {
		if f.ID == "create-privilege" && strings.Contains(f.Repair, `GRANT CREATE ON DATABASE "my-shop" TO "the clerk"`) {
			return
		}
	}
	t.Error("no such finding")
}
