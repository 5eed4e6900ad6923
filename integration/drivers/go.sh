# What the suites in Go share.

# go_module PATH VERSION [EDIT] copies the module's source, checked by the go command, has EDIT change it, and builds the
# tests of its packages.
go_module() {
	local fetched package
	fetched=$(go mod download -json "$1@$2" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
	cp -R "$fetched" source
	chmod -R u+w source
	cd source
	eval "${3-}"
	go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}} {{.ImportPath}}{{end}}' ./... >../packages
	while read -r dir package; do
		go test -c -o "$dir/suite.test" "$package"
	done <../packages
}

# go_tests [PREFIX] runs the tests of every package, one after the other.
go_tests() {
	local dir package
	while read -r dir package; do
		(cd "$dir" && go tool test2json -p "$package${1+ $1}" ./suite.test -test.v=test2json) || true
	done <packages >>"$REPORT"
}
