package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgconn"
)

// What a connection string says reaches pgconn, whatever its form is.
func TestConnectionStrings(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://u@h:5433/d":                                         "h 5433 u  d",
		"host=h port=5433 user=u dbname=d":                              "h 5433 u  d",
		" host = h  dbname='my db' user=u password='it''s' ":            "error",
		` host = h  dbname='my db' user=u password='it\'s'`:             "h 5432 u it's my db",
		`host=h dbname=d user=u password=a\ b\\c`:                       `h 5432 u a b\c d`,
		"host=/tmp port=5433 user=u dbname=d":                           "/tmp 5433 u  d",
		"host=one,two port=1,2 user=u dbname=d":                         "one 1 u  d",
		"host=::1 port=7 user=u dbname=d":                               "::1 7 u  d",
		"user=u hostaddr=127.0.0.1 dbname=d sslmode=disable":            "127.0.0.1 5432 u  d",
		"host=h dbname=d user=u application_name='a b' sslmode=disable": "h 5432 u  d",
		"host=h hostaddr=127.0.0.1 dbname=d":                            "error",
		"dbname=d":                                                      "error",
		"h:5432/d":                                                      "error",
		"host=h dbname='d":                                              "error",
		"host":                                                          "error",
		"u:topsecret@host/x=y":                                          "error",
	} {
		f := postgresFlags{}
		got := "error"
		if err := f.Postgres.Decode(&kong.DecodeContext{Scan: kong.Scan(text)}); err == nil {
			joined, err := f.connString("")
			if err != nil {
				t.Fatal(err)
			}
			config, err := pgconn.ParseConfig(joined)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			got = fmt.Sprintf("%s %d %s %s %s", config.Host, config.Port, config.User, config.Password, config.Database)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// Without --postgres the variables of libpq name the server.
func TestVariablesOfLibpq(t *testing.T) {
	none := pgtee(t, "check")
	none.expectError(t, exitUsage, "PGHOST, PGDATABASE and the other variables of libpq")
	t.Setenv("PGHOST", "127.0.0.1")
	t.Setenv("PGPORT", "1")
	t.Setenv("PGUSER", "somebody")
	t.Setenv("PGPASSWORD", secret)
	pgtee(t, "setup").expectError(t, exitUsage, "name the database")
	t.Setenv("PGDATABASE", "shop")
	pgtee(t, "setup").expectError(t, exitUsage, "cannot reach PostgreSQL at 127.0.0.1:1, database shop, user somebody")
	if got := pgtee(t, "setup", "--postgres", "postgres:///other").stderr; !strings.Contains(got, "database other") {
		t.Error(got)
	}
}
