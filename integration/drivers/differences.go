package main

import "slices"

// reasons says why a test of a suite has another outcome than without pgtee, by suite and test. docs/client-visible.md says the same. A difference
// without an entry here is a defect.
var reasons = map[string]map[string]string{
	"pgjdbc": {
		"org.postgresql.test.jdbc2.DatabaseMetaDataTest tables": "it asks for the tables of every schema, and takes the first for its own: schema pgtee has some",
	},
	"psycopg2": {
		"tests.test_connection.ConnectionTests test_notices_consistent_order": eventTriggerInvoke,
		"tests.test_connection.ConnectionTests test_notices_deque":            eventTriggerInvoke,
		"tests.test_connection.ConnectionTests test_notices_limited":          eventTriggerInvoke,
	},
}

const eventTriggerInvoke = "with client_min_messages = debug1 PostgreSQL tells the client of every event trigger that it calls"

// explain removes the tests with a reason from those that differ, and counts them.
func explain(suite string, different []string) (left []string, explained int) {
	left = slices.DeleteFunc(slices.Clone(different), func(name string) bool { return reasons[suite][name] != "" })
	return left, len(different) - len(left)
}
