# make demo   the whole thing, with nothing installed
# make test   unit and integration tests; fetches what it needs (Go modules, Kafka, PostgreSQL, tools)
# make docs   docs/configuration.md from the flags, docs/findings.md from the catalogue of findings
# make lint   formatting, go vet, staticcheck
# make race   unit tests under the race detector
# make fuzz   every fuzz target for FUZZTIME
# make planted  breaks the code in known ways, one at a time, and requires that the tests and the simulation notice
# make consumers only the tests that have others read the topics: kcat, Python, Debezium's JDBC sink, PostgreSQL's casts
# make guides every command block of docs/guides, and what it prints
# make golden compares our records with Debezium's: what stands in Kafka after its SQL has run, and what its log
#             becomes; DIR=folder for other captures than those of testdata
# make chaos  a mixed workload while everything is killed and cut off for FOR, by SEED; the witness judges
# make chaos-brokers  the same with three brokers: the leader of each partition and the coordinator are killed in turn
# make chaos-snapshot  tables are copied under load while publisher, Kafka and PostgreSQL are killed; what the topics
#             fold to must equal the tables
# make chaos-apply  the stream of a mixed workload is applied to a second server while apply, publisher, Kafka and both servers are
#             killed, two appliers at once; at several points each table must be the same in both
# make chaos-archive  the stream is kept as files while archiver, publisher, Kafka and PostgreSQL are killed: each event of the topics stands there
#             once, a second server made of the files equals the first, and every damage is named
# make chaos-consume  topics with good records and poison, JSON and Avro, are written into tables while consumers, Kafka and PostgreSQL are
#             killed and transactions fail; each record must be one row or one dead letter
# make chaos-query  the changes of a query are published while pgtee query, Kafka and PostgreSQL are killed; each run must show one moment of
#             the table, and the last one what the query returns
# make paths  what the server receives and the client sees on each path of the proxy, with PostgreSQL 14 to 18
# make capture what people do to captured tables, with PostgreSQL 14 to 18
# make soak-ddl eight sessions migrate tables at random for FOR, by SEED, others write, in a database without pgtee and in a captured
#             one in turn: no error and no wait that the first has not, and each topic folds to its table
# make attribution every way to write a row, STATEMENTS of them by SEED through the proxy: no row event may name another statement than
#             the row itself does, or none where its form has to have one
# make schemas TABLES tables of all kinds by SEED (keys, partitions, identities, types, names, encodings), written and changed at random while
#             the publisher is killed and copies them, with PostgreSQL 15 and 18, in JSON and Avro: what the topics fold to is what the tables hold
# make regress PostgreSQL's own regression and isolation suites, without pgtee, after setup, and through the proxy with both
#             outboxes; each line that differs needs a reason in integration/regress/differences.txt
# make cancel-storm  40 sessions whose statements get 200,000 cancels in all, beside some that nobody cancels
# make doctor plants every misconfiguration that check knows how to cure, and does what it says
# make operator-hour  accidents under load, and an operator who knows only what status and /readyz say; how long each took
# make console-test  the console in Chromium over a demo and over a real Kafka: axe on every page in both themes, a minute of 5,000 transactions a
#             second, a restart; SCREENSHOTS=folder for pictures of every page
# make idle-sessions  what 2,000 sessions that wait cost the proxy: heap, stacks and memory in all, of each
# make bench-proxy  what a hop through pgtee costs clients, beside no hop and beside PgBouncer: 12 minutes;
#             ARGS=-quick for one
# make bench-publish  how fast the publisher catches up, how soon a commit is visible, how long a take-over is silent;
#             ARGS="-percent 5 -seconds 5" for a quick look
# make drivers the test suites of PostgreSQL drivers, direct and through the proxy, compared test by test;
#             ARGS='-suites pgx,asyncpg -modes message' for a part of them
# make bench-snapshot  how fast 2 million rows are copied into Kafka, beside COPY TO STDOUT
# make bench-apply  how fast a backlog is written into a second server, beside PostgreSQL's own logical replication; again with 2 ms added
#             to each round trip; ARGS="-percent 10" for a quick look
# make bench-archive  how fast a backlog is kept as JSON lines and as Parquet; ARGS="-rows 200000 -rounds 1" for a quick look
# make bench-consume  how fast a topic of small JSON is written into a table, beside kcat piped into COPY
# make packages  bin/*.deb and bin/*.rpm
# make package-test  installs the Debian package on this machine, upgrades, removes and purges it; needs root
# make chart  README of the Helm chart, the manifests in deploy/kubernetes, and the command lines that cmd/pgtee tests
# make chart-test  every mode and toggle of the chart against the schemas of three versions of Kubernetes, which it downloads
# make bench  both of bench-proxy and bench-publish

GO          ?= go
FUZZTIME    ?= 10s
FOR         ?= 10m
SEED        ?= $(shell date +%s)
STATEMENTS  ?= 100000
TABLES      ?= 300
VERSION     ?= 0.1.0
NFPM        := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

UNIT = $$($(GO) list ./... | grep -v /integration)

.PHONY: build demo test unit integration integration-first integration-second planted consumers guides lint race fuzz golden chaos chaos-brokers chaos-snapshot chaos-apply chaos-archive chaos-consume chaos-query paths capture soak-ddl attribution schemas regress cancel-storm console-test doctor operator-hour idle-sessions bench-proxy bench-publish bench-snapshot bench-apply bench-archive bench-consume bench packages package-test chart chart-test docs drivers tools clean

build:
	$(GO) build -o bin/pgtee ./cmd/pgtee

packages: build
	mkdir -p bin/package
	bin/pgtee man | gzip -9n >bin/package/pgtee.1.gz
	for shell in bash zsh fish; do bin/pgtee completion $$shell >bin/package/pgtee.$$shell || exit 1; done
	for kind in deb rpm; do ARCH=$$($(GO) env GOARCH) VERSION=$(VERSION) $(GO) run $(NFPM) package -f deploy/nfpm.yaml -p $$kind -t bin || exit 1; done

package-test: packages
	$(MAKE) packages VERSION=$(VERSION).1
	deploy/package_test.sh bin/pgtee_$(VERSION)_*.deb bin/pgtee_$(VERSION).1_*.deb

chart:
	cd deploy/helm/chart_test && $(GO) test -count=1 -run '^Test(README|Manifests|Commands)$$' . -update

chart-test:
	cd deploy/helm/chart_test && $(GO) vet . && $(GO) test -count=1 .

demo: build
	bin/pgtee demo $(ARGS)

test: unit integration

unit:
	$(GO) test -timeout 10m $(UNIT)

# Much of the time of these tests is waiting, so they run in two halves, each with servers of its own.
integration: tools
	$(MAKE) -j2 integration-first integration-second

FIRST   = ^Test[A-M]
PLANTED = ^TestPlanted

integration-first:
	$(GO) test -count=1 -timeout 25m -run '$(FIRST)' ./integration

integration-second:
	$(GO) test -count=1 -timeout 25m -skip '$(FIRST)|$(PLANTED)' ./integration
	$(GO) test -count=1 -timeout 10m $$($(GO) list ./integration/... | grep -v '/integration$$')

planted: tools
	$(GO) test -v -count=1 -timeout 20m -run '$(PLANTED)' ./integration

consumers: tools
	$(GO) test -v -count=1 -timeout 10m -run '^Test(EveryType|OtherClients|DemoIsRead|JDBCSink)' ./integration

guides: tools
	$(GO) test -v -count=1 -timeout 10m -run '^TestGuide' ./integration

lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

race:
	$(GO) test -race -timeout 15m $(UNIT)

fuzz:
	@for package in $(UNIT); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

golden: tools
	@mkdir -p bin && rm -f bin/golden.txt
	@GOLDEN_DIR='$(if $(DIR),$(abspath $(DIR)))' GOLDEN_SUMMARY='$(CURDIR)/bin/golden.txt' $(GO) test -count=1 -timeout 10m -run '^TestPublishedGolden$$' ./integration; status=$$?; \
		test ! -e bin/golden.txt || sed 's/^/through PostgreSQL and Kafka: /' bin/golden.txt; \
		$(GO) test -count=1 -run '^TestGolden$$' ./publisher/debezium -summary '$(CURDIR)/bin/golden.txt' $(if $(DIR),-captures '$(abspath $(DIR))') || status=1; \
		cat bin/golden.txt; exit $$status

chaos: tools
	$(GO) run ./integration/chaos -for $(FOR) -seed $(SEED) $(ARGS)

chaos-brokers: tools
	$(GO) run ./integration/chaos -brokers 3 -for $(FOR) -seed $(SEED) $(ARGS)

chaos-snapshot: tools
	$(GO) run ./integration/chaos -snapshots -for $(FOR) -seed $(SEED) $(ARGS)

chaos-apply: tools
	$(GO) run ./integration/chaos -apply -for $(FOR) -seed $(SEED) $(ARGS)

chaos-archive: tools
	$(GO) run ./integration/chaos -archive -for $(FOR) -seed $(SEED) $(ARGS)
chaos-consume: tools
	$(GO) run ./integration/chaos -consume -for $(FOR) -seed $(SEED) $(ARGS)

chaos-query: tools
	$(GO) run ./integration/chaos -query -for $(FOR) -seed $(SEED) $(ARGS)

paths: tools
	PATHS="14 15 16 17 18" $(GO) test -v -count=1 -timeout 20m -run '^TestPaths$$' ./integration

capture: tools
	CAPTURE="14 15 16 17 18" $(GO) test -v -count=1 -timeout 20m -run '^Test(Capture|AlteredPublications)' ./integration

soak-ddl: tools
	$(GO) run ./integration/soakddl -for $(FOR) -seed $(SEED) $(ARGS)

attribution: tools
	$(GO) run ./integration/attribution -statements $(STATEMENTS) -seed $(SEED) $(ARGS)

schemas: tools
	$(GO) run ./integration/schemas -tables $(TABLES) -seed $(SEED) $(ARGS)

regress: tools
	$(GO) run ./integration/regress $(ARGS)

cancel-storm: tools
	CANCELS=5000 $(GO) test -v -count=1 -timeout 60m -run '^TestCancelStorm$$' ./integration

console-test: tools
	CONSOLE=full SCREENSHOTS='$(if $(SCREENSHOTS),$(abspath $(SCREENSHOTS)))' $(GO) test -v -count=1 -timeout 20m ./integration/console
doctor: tools
	DOCTOR=all $(GO) test -v -count=1 -timeout 20m -run '^TestDoctor$$' ./integration

operator-hour: tools
	OPERATOR_HOUR=all $(GO) test -v -count=1 -timeout 20m -run '^TestOperatorHour$$' ./integration

idle-sessions: tools
	SESSIONS=2000 $(GO) test -v -count=1 -timeout 2m -run '^TestIdleSessions$$' ./integration

bench-proxy: tools
	$(GO) run ./integration/benchproxy $(ARGS)

bench-publish: tools
	$(GO) run ./integration/benchpublish $(ARGS)

bench-snapshot: tools
	$(GO) run ./integration/benchsnapshot $(ARGS)

bench-apply: tools
	$(GO) run ./integration/benchapply $(ARGS)

bench-archive: tools
	$(GO) run ./integration/bencharchive $(ARGS)
bench-consume: tools
	$(GO) run ./integration/benchconsume $(ARGS)

bench: bench-proxy bench-publish

docs:
	$(GO) test ./cmd/pgtee -run "^TestConfiguration$$" -update
	$(GO) test ./cmd/pgtee/doctor -update

drivers:
	@integration/tools.sh drivers
	$(GO) run ./integration/drivers $(ARGS)

tools:
	@integration/tools.sh

clean:
	rm -rf bin
