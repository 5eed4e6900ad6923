# pg for Node with its cursors, streams and copies, and Postgres.js; their tests are not in what their authors
# publish: a script beside this one.
install() {
	npm install --silent --no-save --no-fund --no-audit pg@8.23.1 pg-cursor@2.22.0 pg-query-stream@4.17.0 pg-copy-streams@7.0.0 postgres@3.4.9
}

tests() {
	cp "$SCRIPTS/node.mjs" .
	node node.mjs >"$REPORT"
}
