# The module lib/pq, with and without binary parameters.
# It wants to see that pg_hba.conf refuses plain connections of a user and looks at certificates, but that file judges the
# proxy's own connections, which are encrypted whenever the server can. So these lines and that check are left out. And it expects to be connected in 100 ms, or panics.
install() {
	go_module github.com/lib/pq v1.12.3 "
		sed -i '/^func startSSLTest/,/^}/{/_, err/,/^\t}/d}' ssl_test.go
		sed -i '/^func wantEvent/,/^}/s/100 . time.Millisecond/10 * time.Second/' notify_test.go"
}

prepare() {
	cp source/testdata/ssl/{root.crt,server.crt,server.key} "$PGDATA"
	chmod 600 "$PGDATA/server.key"
	chown --reference="$PGDATA" "$PGDATA"/{root.crt,server.crt,server.key}
	cat source/testdata/postgres/docker-entrypoint-initdb.d/*.sql | grep -v "alter system" | psql -X -q -v ON_ERROR_STOP=1 -c "CREATE ROLE pqgo SUPERUSER LOGIN" -f -
	sed -n '/^# TYPE/,/^EOF/{/^EOF/d;p}' source/testdata/postgres/docker-entrypoint-initdb.d/*.sh | sed '/pqgossl/d' >"$PGDATA/pg_hba.conf"
}

tests() {
	chmod 600 source/testdata/ssl/*.key
	export PGUSER=pqgo
	go_tests
	PQTEST_BINARY_PARAMETERS=1 go_tests "binary parameters"
}
