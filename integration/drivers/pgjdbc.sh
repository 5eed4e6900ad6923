# pgjdbc, as its authors publish its source, without the slow tests of what the driver does by itself: dates, quotes,
# encodings, numbers and buffers.
install() {
	mvn -q -B dependency:copy -Dartifact=org.postgresql:postgresql:42.7.8:tar.gz:jdbc-src -DoutputDirectory=.
	tar xzf ./*.tar.gz
	mv postgresql-*-jdbc-src source
	cd source
	mvn -q -B test-compile
	mvn -q -B surefire:test -Dtest=UTF8EncodingTest # fetches what runs tests
}

prepare() {
	psql -X -q -v ON_ERROR_STOP=1 <<-SQL
		CREATE ROLE test LOGIN PASSWORD 'test' CREATEDB REPLICATION;
		ALTER DATABASE test OWNER TO test;
		CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION sslinfo; CREATE EXTENSION "uuid-ossp";
		GRANT ALL ON SCHEMA public TO test;
	SQL
	printf '%s\n' "local all all trust" "host all postgres 127.0.0.1/32 trust" "host all all 127.0.0.1/32 md5" \
		"host replication all 127.0.0.1/32 trust" >"$PGDATA/pg_hba.conf" # md5 stands for SCRAM, too
}

tests() {
	cd source
	printf '%s\n' "test.url.PGHOST=$PGHOST" "test.url.PGPORT=$PGPORT" >build.local.properties
	rm -rf target/surefire-reports
	local without='!QuotationTest,!SetObject310Test,!GetObject310Test,!DateTest,!TimezoneTest,!DatabaseEncodingTest,!NumericTransfer2Test'
	without+=',!BigDecimalByteConverterTest,!PgBufferedOutputStreamTest,!LazyCleanerTest,!TypeCacheDLLStressTest,!OSUtilTest'
	mvn -q -B -o surefire:test -Dtest="$without" -Dmaven.test.failure.ignore=true
	cat target/surefire-reports/*.xml >"$REPORT"
}
