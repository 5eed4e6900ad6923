# SQLAlchemy: the suite that every dialect must pass, the PostgreSQL dialect's own, and transactions, with two drivers.
# Left out is what takes long and is the same for a proxy: SQL compiled without a server, types, and catalogs read.
install() {
	environment "psycopg[binary]==3.2.10" asyncpg==0.30.0 greenlet==3.2.4 typing_extensions==4.15.0
	source_of sqlalchemy 2.0.44
}

prepare() {
	psql -X -q -v ON_ERROR_STOP=1 <<-SQL
		CREATE ROLE scott SUPERUSER LOGIN;
		CREATE EXTENSION hstore;
		CREATE EXTENSION citext;
		CREATE SCHEMA test_schema;
		CREATE SCHEMA test_schema_2;
		ALTER DATABASE "$PGDATABASE" SET default_text_search_config = 'pg_catalog.english';
	SQL
}

tests() {
	cd source
	local driver report=$REPORT
	for driver in psycopg asyncpg; do
		REPORT=$report.$driver pytest -p no:warnings -o junit_suite_name=$driver --dburi "postgresql+$driver://scott@$PGHOST:$PGPORT/$PGDATABASE" \
			-k "not (Compil or test_types or Reflection or Bizarro)" \
			test/dialect/postgresql test/dialect/test_suite.py test/engine/test_transaction.py || true
		sed "s/classname=\"/&$driver /g" "$report.$driver" >>"$report"
	done
}
