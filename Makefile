# CONTRIBUTING.md lists the targets by purpose; "make test" and "make lint" must be green at every commit.

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

FIRST   = ^Test[A-OR]
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
	$(GO) vet -tags full,screenshots ./...
	$(GO) run $(STATICCHECK) -tags full,screenshots ./...

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
	SCREENSHOTS='$(abspath $(SCREENSHOTS))' $(GO) test -v -count=1 -timeout 20m -tags 'full $(if $(SCREENSHOTS),screenshots)' ./integration/console

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
