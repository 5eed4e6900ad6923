package main

// suites are in the order in which they run: quick ones first.
var suites = []suite{
	{name: "pgx", language: "go", databases: []string{"pgx_test"}, hasPrepare: true, read: readGoTest},
}
