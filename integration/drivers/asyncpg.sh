# asyncpg, whole, but for what needs a server that the tests start themselves.
install() {
	environment asyncpg==0.30.0 distro==1.9.0 uvloop==0.22.1
	source_of asyncpg 0.30.0
}

tests() {
	cd source
	rm -rf asyncpg/*.so
	mv asyncpg asyncpg.source 2>/dev/null || true
	PGDATABASE=postgres pytest tests
}
