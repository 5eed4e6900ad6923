package main

// suites are in the order in which they run: quick ones first.
var suites = []suite{
	{name: "pq", language: "go", databases: []string{"pqgo"}, hasPrepare: true, read: readGoTest, settings: tlsSettings,
		tls: [3]string{"source/testdata/ssl/server.crt", "source/testdata/ssl/server.key", "source/testdata/ssl/root.crt"}},
	{name: "asyncpg", language: "python", databases: []string{"postgres"}, read: readJUnit},
	{name: "psycopg2", language: "python", databases: []string{"psycopg2_test"}, read: readJUnit},
	{name: "psycopg", language: "python", databases: []string{"psycopg"}, read: readTranscript},
	{name: "node", databases: []string{"node"}, read: readTranscript},
	{name: "pgx", language: "go", databases: []string{"pgx_test"}, hasPrepare: true, read: readGoTest},
	{name: "pgjdbc", databases: []string{"test"}, hasPrepare: true, read: readJUnit},
	{name: "sqlalchemy", language: "python", databases: []string{"test"}, hasPrepare: true, read: readJUnit},
	{name: "django", language: "python", databases: []string{"test_django", "test_django2"}, read: readJUnit},
}

// tlsSettings are for servers to whose data folder the files have been copied.
var tlsSettings = map[string]string{"ssl": "on", "ssl_ca_file": "root.crt"}
