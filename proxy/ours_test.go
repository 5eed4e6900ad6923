package proxy

import "testing"

func TestLooksAtStatements(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT * FROM pg_prepared_statements": true, "select * from PG_PREPARED_STATEMENTS": true, `SELECT name FROM pg_catalog."pg_prepared_statements"`: true,
		"SELECT pg_prepared_statement()": true, "pg_Prepared_Statement": true, "": false, "_": false, "pg_": false, "SELECT * FROM pg_prepared_xacts": false,
		"SELECT prepared_statement, g_prepared_statement FROM pg_": false, "pg_pg_prepared_statement": true,
	} {
		if got := looksAtStatements([]byte(text)); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}
