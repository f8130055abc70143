# Everything a developer runs. `make help` lists it; CI runs the same targets.

GO       ?= go
BIN      := bin/count
CACHE    ?= $(shell $(GO) env GOCACHE)/count-tools
PACKAGES := ./...
FUZZTIME ?= 10s
# What shares memory between goroutines. RACE=./... is everything.
RACE     ?= ./engine ./engine/wal ./engine/buffer ./engine/registry ./ingest ./internal/seriescache ./internal/telemetry \
            ./remote/write ./cluster/agree ./cluster/hints ./cluster/membership ./cluster/quorum ./cluster/transport
# Without C, as it is shipped: a static binary. Only the race detector needs it.
export CGO_ENABLED = 0
# The seed of property tests: the same cases in every run. RAPID_SEED=0 draws new ones.
export RAPID_SEED ?= 1
# Prometheus's iterators have a method Seek with another signature than io.Seeker.
VETFLAGS := -stdmethods=false
# What drives docker-compose.yml, and the node that demo-kill and demo-heal mean.
COMPOSE  ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
NODE     ?= 3
# Versions of the tools: pinned here and nowhere else.
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/count
	$(GO) build -o $(BIN) ./cmd/count

.PHONY: release
release: ## build bin/count as it is shipped: static, without paths of this machine
	$(GO) build -trimpath -ldflags '-s -w' -o $(BIN) ./cmd/count

.PHONY: sbom
sbom: release ## write bin/count.cdx.json: what bin/count is made of, in CycloneDX's form
	./$(BIN) version --sbom >$(BIN).cdx.json

.PHONY: run
run: build ## build and start a node at http://127.0.0.1:8080 with its data in ./count_data
	./$(BIN) serve

.PHONY: test
test: build ## all tests; the one with a real Prometheus needs PROMETHEUS_BIN (make tools)
	COUNT_BIN=$(CURDIR)/$(BIN) $(GO) test $(PACKAGES)

.PHONY: test-race
test-race: ## the concurrent packages (RACE) under the race detector, with invariants checked; what takes long is left out
	CGO_ENABLED=1 $(GO) test -race -short -tags invariants $(RACE)

.PHONY: e2e
e2e: build ## only the tests with whole processes, never from Go's cache
	COUNT_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 ./test/...

.PHONY: clocks
clocks: ## three nodes whose clocks are minutes apart; compiles everything with a clock that can be set
	./test/process/skewed.sh $(CURDIR)/bin/count-skewed
	COUNT_SKEWED_BIN=$(CURDIR)/bin/count-skewed $(GO) test -count=1 -run TestProcessesWithClocksApart ./test/cluster

.PHONY: cluster
cluster: build ## start three nodes at ports 8081 to 8083 with their data in ./count_data/node-*
	./deploy/local-cluster.sh

.PHONY: demo
demo: ## start the demo in containers: three nodes, a load balancer, Prometheus and Grafana
	REVISION=$$(git rev-parse HEAD) DATE=$$(git log -1 --format=%cI) $(COMPOSE) --profile grafana up -d --build
	@echo "Count http://127.0.0.1:8080/ui/  Prometheus http://127.0.0.1:9090  Grafana http://127.0.0.1:3000; docs/demo.md says what to look at"
	@echo "make demo-kill NODE=3 kills a node, make demo-heal NODE=3 brings it back, make demo-down ends it"

.PHONY: demo-down
demo-down: ## end the demo in containers and delete its data
	$(COMPOSE) --profile grafana down -v

.PHONY: demo-local
demo-local: build ## the demo without containers, until Ctrl-C; PROMETHEUS_BIN (make tools) is what writes to it
	./deploy/demo-local.sh run

.PHONY: demo-kill
demo-kill: ## kill node NODE (3) of the demo that runs, in containers or not
	@if ./deploy/demo-local.sh running; then ./deploy/demo-local.sh kill $(NODE); else $(COMPOSE) kill count-$(NODE); fi

.PHONY: demo-heal
demo-heal: ## start node NODE (3) of the demo again
	@if ./deploy/demo-local.sh running; then ./deploy/demo-local.sh heal $(NODE); else $(COMPOSE) start count-$(NODE); fi

.PHONY: demo-test
demo-test: ## run the compose file in a Docker daemon of its own, kill and cut off nodes, and query meanwhile (root; PROMETHEUS_BIN; deploy/demo-test.sh says what else)
	./deploy/demo-test.sh

.PHONY: lint
lint: ## format, vet, staticcheck and the rules of the house
	@out="$$(gofmt -l $$(git ls-files '*.go'))"; [ -z "$$out" ] || { echo "not formatted (gofmt -w):"; echo "$$out"; exit 1; }
	$(GO) vet $(VETFLAGS) $(PACKAGES)
	$(GO) test -count=1 ./internal/lint
	@if command -v staticcheck >/dev/null; then staticcheck $(PACKAGES); else echo "staticcheck is not installed: go install $(STATICCHECK)"; fi
	@if command -v golangci-lint >/dev/null; then golangci-lint run; fi

.PHONY: vet
vet: ## go vet
	$(GO) vet $(VETFLAGS) $(PACKAGES)

.PHONY: fmt
fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

.PHONY: simulate
simulate: ## SEEDS (500) lives of simulated clusters to which everything happens, from seed FROM (0), the same every time; SEEDS=1 tells one in full (VERBOSE=1: their hashes), ENGINE=1 lives them on the storage that nodes have
	@code=0; ENGINE=$(ENGINE) ./test/simulation/simulate.sh $(or $(FROM),0) $(or $(SEEDS),500) || code=$$?; [ $$code = 77 ] || exit $$code; \
	  echo "lives are not the same each time with this Go" && \
	  COUNT_SEEDS=$(or $(SEEDS),500) COUNT_SEED_FROM=$(or $(FROM),0) $(GO) test -count=1 -timeout 60m -run 'TestSimulation$(and $(ENGINE),OnEngine)$$' -v ./cluster

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@for file in $$(git grep -lE '^func Fuzz' -- '*_test.go'); do \
	  for target in $$(grep -oE '^func Fuzz[A-Za-z0-9_]*' $$file | cut -c6-); do \
	    echo "== $$(dirname $$file) $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
	  done; \
	done

.PHONY: bench
bench: ## Go benchmarks in the form that benchstat reads
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./engine/... ./remote/write/... ./ingest/... ./promql/...

.PHONY: bench-peers
bench-peers: build ## load Count, PROMETHEUS_BIN and VICTORIA_METRICS_BIN with the same data and print a table (BENCH_FLAGS="--set A --scale 0.1")
	./$(BIN) bench peers $(BENCH_FLAGS)

.PHONY: tools
tools: ## build Prometheus and promtool, pinned, as peers for e2e and bench-peers (minutes, once)
	mkdir -p "$(CACHE)"
	cd test/tools && $(GO) build -o "$(CACHE)/" github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool
	@echo 'export PROMETHEUS_BIN="$(CACHE)/prometheus" PROMTOOL_BIN="$(CACHE)/promtool"'

.PHONY: ui
ui: ## build the page from internal/web/ui into internal/web/dist, which is committed (npm)
	cd internal/web/ui && npm ci --no-audit --no-fund --loglevel=error && npm run --silent check && npm run --silent build -- --logLevel error

.PHONY: docs
docs: ## write the pages that follow from the code
	$(GO) test ./internal/config -run TestReference -update

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
