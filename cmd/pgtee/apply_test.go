package main

import "testing"

// What a command moves from a schema of the search_path can be told only by its text: a name in the target may be another table's.
func TestMovedStatement(t *testing.T) {
	list := splitSQL("ALTER TABLE t SET SCHEMA old; ALTER TABLE app.t SET SCHEMA old")
	if len(list) != 2 || !list[0].Moved || list[1].Moved {
		t.Errorf("%+v", list)
	}
}
