# Everything that is done to this project by hand or by CI. `make help` lists it.

GO       ?= go
CHROMIUM ?= $(firstword $(wildcard /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"))
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   = gotest.tools/gotestsum@v1.13.0

.PHONY: help build demo test check go-test page-test client-test tools golden fuzz bench budgets vendor clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## ./obsrun
	$(GO) build -trimpath -o obsrun ./cmd/obsrun

demo: ## play the EigenDA profile
	$(GO) run ./cmd/obsrun demo

test: tools check page-test client-test go-test ## all checks and tests; installs what they need first

tools: ## what the tests need: Chromium, Node.js, Python, an OpenTelemetry Collector, DuckDB
	@sh .ci/tools

check: ## formatting, vet, staticcheck, tidiness of go.mod
	@echo "--- gofmt"; test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	@echo "--- go vet"; $(GO) vet ./... ./testdata/eigenda
	@echo "--- go vet, darwin"; GOOS=darwin $(GO) vet ./cmd/... ./supervisor/... ./instrument/... ./serve/... ./report/... ./ui/...
	@echo "--- staticcheck"; $(GO) run $(STATICCHECK) ./...
	@echo "--- go mod tidy"; $(GO) mod tidy -diff

page-test: ## the page's own tests
	@echo "--- page"; node --test --test-reporter=spec ui/test/*.test.mjs

client-test: ## the Python and JavaScript clients
	@echo "--- python client"; python3 -m unittest discover -q instrument/python
	@echo "--- javascript client"; node --test --test-reporter=spec instrument/javascript/obsrun.test.mjs

go-test: ## go test with the race detector, the browser test included
	@echo "--- go test"; $(GO) run $(GOTESTSUM) --format pkgname-and-test-fails -- -race -shuffle=on -timeout 20m ./...

golden: ## rewrite the golden files; look at the difference before you commit it
	$(GO) test ./report ./report/export ./instrument/... ./cmd/obsrun -update

fuzz: ## each fuzz target for 20 s
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "--- $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime 20s -fuzzminimizetime 5x $$pkg || exit 1; \
		done; done

bench: ## what an event costs
	$(GO) test -run '^$$' -bench . -benchmem ./instrument/...

budgets: ## what the dashboard costs with 35 to 100,000 spans: load, frames, heap
	$(GO) test ./cmd/obsrun -run '^TestBudgets$$' -budgets -v

vendor: ## make the page's libraries again from the npm registry
	sh ui/vendor/refresh

clean: ## what building and running left here
	rm -rf obsrun logs
