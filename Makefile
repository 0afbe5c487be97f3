# Every tool is pinned: in tools/go.mod those for Go, in tools/package-lock.json those for the REST documents.
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOL      = $(GO) tool -modfile=tools/go.mod
SOURCES   = $(wildcard cmd modules platform test)
# Go modules of their own, so that nothing else knows of their dependencies.
OWN       = platform/saga/temporal cmd/app/extended
# nomsgpack leaves out a gin binding that nothing uses, and its 6 MB.
BUILD     = $(GO) build -trimpath -tags nomsgpack -ldflags "-s -w -X main.version=$(VERSION)"

# As in the released binary: no cgo, and so no C compiler. Only the race detector needs one.
export CGO_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help run build test test-changed test-race lint generate generated bench bench-short journey chaos topology split-demo security verify

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Serve everything on SQLite in ./data
	$(GO) run ./cmd/app serve

build: ## Build the static binary bin/app
	$(BUILD) -o bin/app ./cmd/app

test: ## Run all tests, on SQLite and Postgres
	$(GO) test ./...
	for module in $(OWN); do (cd $$module && $(GO) test ./...) || exit; done

test-changed: ## Run the tests of what changed since main, and of what depends on it
	$(GO) tool cleave test --since main

# Without the boundary lint, which is a third of the time and runs in no server.
test-race: ## Run the platform's tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race $$($(GO) list ./platform/... | grep -v /platform/arch)

lint: ## Check code, boundaries, contracts and reference documents
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	@unformatted=$$($(TOOL) gofumpt -l $(SOURCES)) && if [ -n "$$unformatted" ]; then \
		echo "not formatted by gofumpt:"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	for module in $(OWN); do \
		(cd $$module && $(GO) vet ./... && $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck ./... && $(GO) mod tidy -diff) || exit; done
	cd test/bench/peers && $(GO) vet ./... && $(GO) mod tidy -diff
	$(GO) tool cleave lint
	$(GO) tool cleave contract
	$(GO) tool cleave docs --check
	tools/lint-api.sh

generate: ## Generate code anew from the contracts, and the reference documents from the code
	tools/generate.sh
	$(GO) tool cleave docs

generated: ## Check that generated code is current
	@before=$$(git status --porcelain; git diff) && tools/generate.sh && after=$$(git status --porcelain; git diff) && \
		if [ "$$before" != "$$after" ]; then echo "generated code was not current: commit what make generate changed"; git status --short; exit 1; fi

security: ## Look for weaknesses: access, tokens, OpenID Connect, known vulnerabilities, fuzzing
	tools/security.sh

bench: ## Measure, and compare with the goals
	$(GO) run ./test/bench

bench-short:
	$(GO) run ./test/bench -short

journey: ## Run the whole story against the real binary
	$(GO) test -count=1 -v ./test/journey

chaos: ## Kill the real binary, its database, network and broker under load, and check every promise
	$(GO) test -count=1 -v -timeout 60m ./test/chaos -full $(CHAOS)

topology: ## Compare every partition into processes with one process, and move modules under load
	$(GO) test -count=1 -v -timeout 60m ./test/topology -full
	$(GO) test -count=1 -v -timeout 60m ./test/moving -args -times 10 -rate 80

split-demo: ## Run three processes and a gateway on this machine, without Docker, and drive app demo against them
	$(GO) run ./test/splitdemo $(DEMO)

# make test has the journey in it, a few strikes of chaos, and every partition once.
verify: lint generated test test-race build bench-short ## Run everything that must pass before a change is merged
