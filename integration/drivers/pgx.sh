# The module pgx v5, every package of it.
install() { go_module github.com/jackc/pgx/v5 v5.12.0; }

# As its README has it, but for client certificates, which end at a proxy.
prepare() {
	psql -X -q -v ON_ERROR_STOP=1 -f source/testsetup/postgresql_setup.sql
	cat >"$PGDATA/pg_hba.conf" <<-HBA
		local all all trust
		host all pgx_md5 127.0.0.1/32 md5
		host all pgx_scram 127.0.0.1/32 scram-sha-256
		host all pgx_pw 127.0.0.1/32 password
		host all all 127.0.0.1/32 trust
		host replication all 127.0.0.1/32 trust
	HBA
}

tests() {
	export PGX_TEST_DATABASE="host=$PGHOST port=$PGPORT user=postgres database=$PGDATABASE sslmode=disable"
	export PGX_TEST_TCP_CONN_STRING="$PGX_TEST_DATABASE"
	export PGX_TEST_UNIX_SOCKET_CONN_STRING="host=$SOCKETS port=$PGPORT user=postgres database=$PGDATABASE"
	export PGX_TEST_PLAIN_PASSWORD_CONN_STRING="host=$PGHOST port=$PGPORT user=pgx_pw password=secret database=$PGDATABASE sslmode=disable"
	export PGX_TEST_MD5_PASSWORD_CONN_STRING="host=$PGHOST port=$PGPORT user=pgx_md5 password=secret database=$PGDATABASE sslmode=disable"
	export PGX_TEST_SCRAM_PASSWORD_CONN_STRING="host=$PGHOST port=$PGPORT user=pgx_scram password=secret database=$PGDATABASE sslmode=disable channel_binding=disable"
	export -n PGHOST PGPORT PGUSER PGDATABASE # the tests of connection strings expect none
	go_tests
}
