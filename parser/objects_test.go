package parser

import (
	"fmt"
	"testing"
)

func TestObjectsOf(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE TABLE t (id int REFERENCES other)":                      "[[t]] false",
		"create table if not exists Public . \"My t\" (id int)":         "[[public My t]] true",
		"CREATE TABLE if (id int)":                                      "[[if]] false",
		"CREATE LOCAL TEMP TABLE t (id int)":                            "[[t]] true",
		"CREATE UNLOGGED TABLE t (id int)":                              "[[t]] false",
		"CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1":                "[[v]] true",
		"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)":     "[[i]] true",
		"CREATE INDEX ON t (a)":                                         "[] false",
		"CREATE INDEX CONCURRENTLY ON t (a)":                            "[] false",
		"CREATE SCHEMA AUTHORIZATION joe":                               "[] false",
		"CREATE SCHEMA IF NOT EXISTS s":                                 "[[s]] true",
		"CREATE FUNCTION s.f(a int) RETURNS int LANGUAGE sql AS '1'":    "[[s f]] false",
		"CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()":       "[[g]] false",
		"CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"":                  "[[uuid-ossp]] true",
		"ALTER TABLE IF EXISTS ONLY s.t ADD COLUMN IF NOT EXISTS a int": "[[s t]] true",
		"ALTER TABLE t RENAME TO \"U\"":                                 "[[U]] false",
		"ALTER TABLE s.t RENAME TO u":                                   "[[s u]] false",
		"ALTER TABLE t RENAME COLUMN a TO b":                            "[[t]] false",
		"ALTER TABLE s.t SET SCHEMA r":                                  "[[r t]] false",
		"ALTER TABLE ONLY t SET SCHEMA r":                               "[[r t]] false moved",
		"alter function f(int) set\nschema \"R\"":                       "[[R f]] false moved",
		"ALTER FUNCTION f(int) SET search_path = s":                     "[[f]] false",
		"ALTER EXTENSION e SET SCHEMA r":                                "[[r e]] false",
		"ALTER COLLATION s.c SET SCHEMA r":                              "[[r c]] false",
		"ALTER STATISTICS c SET SCHEMA r":                               "[[r c]] false moved",
		"ALTER TEXT SEARCH CONFIGURATION c SET SCHEMA r":                "[[r c]] false moved",
		"CREATE STATISTICS ON a, b FROM t":                              "[] false",
		"ALTER FUNCTION f(int, text) RENAME TO g":                       "[[g]] false",
		"ALTER TRIGGER g ON s.t RENAME TO h":                            "[[h]] false",
		"DROP TABLE IF EXISTS a, s.\"b.c\" CASCADE":                     "[[a] [s b.c]] true",
		"DROP FUNCTION f(int, text), g":                                 "[[f] [g]] false",
		"DROP INDEX CONCURRENTLY i":                                     "[[i]] false",
		"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO joe":        "[] false",
		"COMMENT ON TABLE t IS 'x'":                                     "[] false",
		"CREATE CAST (a AS b) WITHOUT FUNCTION":                         "[] false",
		"DROP TABLE":                                                    "[] false",
	} {
		o := ObjectsOf([]byte(sql), Lexis{StandardConformingStrings: true})
		got := fmt.Sprint(o.Names, o.Optional)
		if o.Moved {
			got += " moved"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
}
