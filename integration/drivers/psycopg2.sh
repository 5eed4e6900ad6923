# psycopg2, whole, in both of its ways to wait, and with replication connections.
install() {
	environment psycopg2-binary==2.9.10
	source_of psycopg2-binary 2.9.10
	mkdir tests && mv source/tests tests/tests
}

tests() {
	cd tests
	export PSYCOPG2_TESTDB=$PGDATABASE PSYCOPG2_TEST_REPL_DSN=
	pytest tests
}
