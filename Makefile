# make demo    the support desk, end to end            make demo WAIT=1 leaves it running
# make test    everything CI runs
# make bench   every measurement, in one table
# make build   bin/sallyport, one static binary

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X main.buildVersion=$(VERSION)

# Fuzz targets run 5 s each in CI, shortly elsewhere; make fuzz FUZZTIME=30s
FUZZTIME ?= $(if $(CI),5s,3s)

# A package may take as long as it needs on a slow machine; what hangs ends.
TIMEOUT ?= 60m

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: build demo test bench lint unit race fuzz fixtures conformance clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sallyport ./cmd/sallyport

demo: build
	@bin/sallyport demo $(if $(WAIT),--wait)

test: lint fixtures unit race fuzz

lint:
	@test -z "$$(git ls-files "*.go" | xargs gofmt -l | tee /dev/stderr)" || { echo "fix: gofmt -w ."; exit 1; }
	@scripts/retry $(GO) list -deps -test ./... >/dev/null
	$(GO) vet ./...
	@scripts/retry $(GO) run $(STATICCHECK) -version
	$(GO) run $(STATICCHECK) ./...
	@scripts/vulncheck $(GOVULNCHECK)
	@scripts/noliterals

# What the tests of real servers and clients need, once: Node packages, Chromium, PostgreSQL.
fixtures:
	@scripts/fixtures

unit:
	CGO_ENABLED=0 $(GO) test -count=1 -timeout $(TIMEOUT) ./...

# The rooms with shared state, again under the race detector.
race:
	CGO_ENABLED=1 $(GO) test -race -short -count=1 -timeout $(TIMEOUT) ./canon ./task ./identity ./lexicon ./catalog ./classify ./flow ./policy ./pdp ./state ./ledger ./approval ./gateway ./outbound ./rate ./secret ./custody ./lease ./lease/oauth2 ./lease/vault ./lease/github ./lease/static ./sqldb ./workload ./login ./oauth ./pep/... ./api

fuzz:
	@scripts/fuzz $(FUZZTIME)

# The official MCP conformance suite, direct and through the gateway, ten times
# for each revision.
conformance:
	@scripts/conformance $(or $(N),10)

bench: build
	@bin/sallyport bench
	@$(GO) test ./lease/... ./cmd/sallyport -run '^$$' -bench 'Lease|Postgres|MySQL|Redis|RabbitMQ|SSH|STS|Kubernetes|OAuth|GitHub|Vault|Static' -benchtime 50x | grep ^Benchmark

clean:
	rm -rf bin var .cache
