package publisher

import "testing"

// TestDDLStatement: rows that are written in the Query of a DDL command do not come into its record.
func TestDDLStatement(t *testing.T) {
	const script = "CREATE TABLE a (b text DEFAULT 'd'); INSERT INTO a VALUES ('secret'); COMMENT ON TABLE a IS 'c'"
	for _, test := range []struct {
		text      SQLText
		sql, want string
	}{
		{Normalised, script, "CREATE TABLE a (b text DEFAULT 'd'); INSERT INTO a VALUES ($1); COMMENT ON TABLE a IS 'c'"},
		{Normalised, "CREATE TABLE a AS SELECT 'secret' AS b", "CREATE TABLE a AS SELECT $1 AS b"},
		{Normalised, "SELECT 'secret' AS b INTO a", "SELECT $1 AS b INTO a"},
		{Normalised, "DO $$BEGIN CREATE TABLE a (); INSERT INTO b VALUES ('secret'); END$$", "DO $1"},
		{Normalised, "CREATE VIEW v AS SELECT 'd' AS b", "CREATE VIEW v AS SELECT 'd' AS b"},
		{Normalised, "CREATE TABLE a (); INSERT INTO a VALUES ('sec", "<redacted>"},
		{Full, script, script},
		{Off, script, ""},
	} {
		config := testConfig()
		config.SQLText = test.text
		p := newPublisher(config, nil, nil, tableFormat{})
		if got := p.ddlStatement(test.sql, false); got != test.want {
			t.Errorf("%d, %s:\n%s, want\n%s", test.text, test.sql, got, test.want)
		}
	}
}
