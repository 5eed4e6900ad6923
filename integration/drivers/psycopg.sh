# psycopg 3, whose tests are not in what its authors publish: a script beside this one, with both of its implementations.
install() { environment "psycopg[binary]==3.2.10" psycopg-pool==3.2.6 typing_extensions==4.15.0; }

tests() {
	local implementation
	for implementation in python binary; do
		PSYCOPG_IMPL=$implementation environment/bin/python -P "$SCRIPTS/psycopg.py" | sed "s/^/$implementation /" >>"$REPORT" || true
	done
}
