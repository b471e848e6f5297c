# Everything that is done to this project by hand or by CI. `make help` lists it.

GO       ?= go
CHROMIUM ?= $(firstword $(wildcard /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"))
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOSEC       = github.com/securego/gosec/v2/cmd/gosec@v2.30.0
# Not asked of it: unsafe for system calls (103), errors of Close on the way out (104), conversions of numbers that
# the kernel gave (115), starting commands (204) and opening files by name (304), which
# is what this program is for, and indexes that the line before has checked (602).
GOSEC_FLAGS = -quiet -exclude=G103,G104,G115,G204,G304,G602 -exclude-dir=testdata
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
GOTESTSUM   = gotest.tools/gotestsum@v1.13.0

.PHONY: help build demo test check go-test page-test client-test tools golden fuzz soak bench microbench budgets vendor clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## ./obsrun, without C: a program that loads no library starts sooner, nor what makes manual pages
	CGO_ENABLED=0 $(GO) build -trimpath -tags urfave_cli_no_docs -o obsrun ./cmd/obsrun

demo: ## play the EigenDA profile
	$(GO) run ./cmd/obsrun demo

test: tools check page-test client-test go-test fuzz ## all checks and tests; installs what they need first

tools: ## what the tests need: Chromium, Node.js, Python, an OpenTelemetry Collector, DuckDB
	@sh .ci/tools

check: ## formatting, vet, staticcheck, tidiness of go.mod
	@echo "--- gofmt"; test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	@echo "--- go vet"; $(GO) vet ./... ./testdata/eigenda
	@echo "--- go vet, darwin"; GOOS=darwin $(GO) vet ./cmd/... ./supervisor/... ./instrument/... ./serve/... ./report/... ./ui/...
	@echo "--- staticcheck"; $(GO) run $(STATICCHECK) ./...
	@echo "--- gosec"; $(GO) run $(GOSEC) $(GOSEC_FLAGS) ./...
	@echo "--- govulncheck"; out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1) || case "$$out" in \
		*"fetching vulnerabilities"*) echo "NOT CHECKED: the vulnerability database cannot be reached: $$out" ;; \
		*) echo "$$out"; exit 1 ;; esac
	@echo "--- go mod tidy"; $(GO) mod tidy -diff

page-test: ## the page's own tests
	@echo "--- page"; node --test --test-reporter=spec ui/test/*.test.mjs

client-test: ## the Python and JavaScript clients
	@echo "--- python client"; python3 -m unittest discover -q instrument/python
	@echo "--- javascript client"; node --test --test-reporter=spec instrument/javascript/obsrun.test.mjs

go-test: ## go test with the race detector, the browser test included
	@echo "--- go test"; $(GO) run $(GOTESTSUM) --format pkgname-and-test-fails -- -race -shuffle=on -timeout 20m ./...
	@cd testdata/bench && $(GO) test ./...

golden: ## rewrite the golden files; look at the difference before you commit it
	$(GO) test ./report ./report/export ./instrument/... ./cmd/obsrun -update

FUZZTIME ?= 2s
fuzz: ## each fuzz target for FUZZTIME, 2 s by default
	@GO="$(GO)" sh .ci/fuzz $(FUZZTIME)

soak: ## one hour compressed: 100 agents, 2 million events, 50 dashboards
	$(GO) test ./cmd/obsrun -run '^TestSoak$$' -soak -v -timeout 30m

bench: build ## obsrun against its peers, one table: ROWS=startup,keys for some rows, BASE=PATH for another obsrun beside it
	@sh testdata/bench/tools
	@cd testdata/bench && $(GO) run . -obsrun ../../obsrun $(if $(ROWS),-rows $(ROWS)) $(if $(BASE),-base $(abspath $(BASE)))

microbench: ## what an event costs, part by part
	$(GO) test -run '^$$' -bench . -benchmem ./instrument/...

budgets: ## what the dashboard costs with 35 to 100,000 spans: load, frames, heap
	$(GO) test ./cmd/obsrun -run '^TestBudgets$$' -budgets -v

vendor: ## make the page's libraries again from the npm registry
	sh ui/vendor/refresh

clean: ## what building and running left here
	rm -rf obsrun logs
