# Everything a developer or CI runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
BIN := bin
TOOLS := .tools/bin
GOLANGCI_VERSION := v2.15.0
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
VALE_VERSION := v3.21.0
VALE := $(TOOLS)/vale-$(VALE_VERSION)
# The folders whose texts `make voice` checks.
VOICE := README.md CHANGELOG.md activities audit authority cmd config decide deploy docker docs doctor e2e folder gen/gantry hack inbox notify openapi server service simulator spacelift temporalserver untrusted web workflows
# Lint vets.
GOTESTSUM := go tool -modfile=tools.mod gotestsum --format pkgname --format-hide-empty-pkg -- -vet=off
# The race detector needs a C compiler; CI has one.
RACE := $(shell command -v $${CC:-gcc} >/dev/null 2>&1 && echo -race)
# These are tested without it. The first three compile a Temporal server, which takes minutes, for races that are Temporal's own. The
# others start no goroutines.
RACELESS := /temporalserver$$|/docker/temporal$$|/cmd/gantry-dev$$|/decide/(chain|freeze|managed|reconcile)$$|/(docs|hack|openapi)$$
GO_FILES := $(shell git ls-files '*.go' 2>/dev/null | grep -vE '(\.gen|_templ)\.go$$')

# One set of flags for everything that is compiled, containers included: a Temporal server takes minutes to compile. The flags
# of the caller, from the environment, make's command line or go env, are kept.
export CGO_ENABLED := 0
override GOFLAGS := $(strip -trimpath $(filter-out -trimpath,$(or $(GOFLAGS),$(shell go env GOFLAGS 2>/dev/null))))
export GOFLAGS

.PHONY: help
help: ## List all targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## Run the lab: Temporal, Spacelift simulator, Gantry and Swagger UI in one process (and build bin/gantry)
	@hack/compile -o $(BIN)/ -ldflags '$(LDFLAGS)' ./cmd/gantry ./cmd/gantry-dev
	@exec $(BIN)/gantry-dev $(ARGS)

.PHONY: build
build: ## Build the product binary, stripped
	hack/compile -ldflags '$(LDFLAGS)' -o $(BIN)/gantry ./cmd/gantry

.PHONY: share
share: build ## Write manual pages and completion for bash, zsh and fish to bin/share, to copy to /usr/local
	$(BIN)/gantry man $(BIN)/share/man/man1
	@mkdir -p $(BIN)/share/bash-completion/completions $(BIN)/share/zsh/site-functions $(BIN)/share/fish/vendor_completions.d
	$(BIN)/gantry completion bash >$(BIN)/share/bash-completion/completions/gantry
	$(BIN)/gantry completion zsh >$(BIN)/share/zsh/site-functions/_gantry
	$(BIN)/gantry completion fish >$(BIN)/share/fish/vendor_completions.d/gantry.fish

.PHONY: image
image: ## Build the container images gantry, gantry-dev and gantry-temporal, pulling nothing
	@VERSION='$(VERSION)' docker/build

.PHONY: up
up: image ## Start Temporal and Gantry in containers, with a simulated Spacelift unless GANTRY_ACCOUNT is set
	@docker/stack up

.PHONY: down
down: ## Stop the containers; ARGS=-v forgets their data as well
	@docker/stack down $(ARGS)

.PHONY: check-docker
check-docker: image ## Drive the containers on a real engine and kill each of them; needs a Docker engine and PostgreSQL's programs
	$(GOTESTSUM) -count=1 -timeout 20m ./e2e/docker

.PHONY: generate
generate: ## Generate code from the contract and the GraphQL schema
	go generate ./tools.go

.PHONY: verify
verify: ## Fail if generated code or module files are not up to date
	./hack/verify

.PHONY: contract
contract: ## Fail if the contract breaks callers of the last tagged version
	@./hack/contract

.PHONY: fmt
fmt: ## Format the code
	gofmt -s -w $(GO_FILES)

.PHONY: check-fmt
check-fmt: ## Fail if code is not formatted
	@out=$$(gofmt -s -l $(GO_FILES)); test -z "$$out" || { echo "not formatted (run make fmt):"; echo "$$out"; exit 1; }

.PHONY: lint
lint: $(GOLANGCI) voice ## Run golangci-lint, with go vet and the import and clock rules, and check the voice
	$(GOLANGCI) run ./...
	cd gen && go vet ./... && $(abspath $(GOLANGCI)) run ./gantry/...

$(GOLANGCI):
	mkdir -p $(TOOLS)
	GOBIN=$(abspath $(TOOLS)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

# Vale parses Go with a C library, so building it needs a C compiler; CI has one.
.PHONY: voice
voice: $(if $(RACE),$(VALE)) ## Check the words of documents, the contract and comments by hack/vale
	@$(if $(RACE),git ls-files -z -- $(VOICE) | grep -zE '\.(md|go)$$|^openapi/gantry\.yaml$$' | grep -zvE '(\.gen|_templ)\.go$$' | \
		xargs -0 $(VALE) --config hack/vale/vale.ini --output line,echo "no C compiler: not checking the voice")

$(VALE):
	mkdir -p $(TOOLS)
	CGO_ENABLED=1 CGO_CFLAGS=-O1 GOBIN=$(abspath $(TOOLS)) go install github.com/vale-cli/vale/v3/cmd/vale@$(VALE_VERSION)
	mv $(TOOLS)/vale $@

.PHONY: workflowcheck
workflowcheck: ## Prove that workflow code is deterministic
	go tool -modfile=tools.mod workflowcheck ./workflows/...

.PHONY: test
test: ## Run all tests but those in e2e, with the race detector where there is a C compiler
	cd gen && go test ./...
	@test -n "$(RACE)" || echo "no C compiler: testing without the race detector"
	$(GOTESTSUM) $$(go list ./... | grep -E '$(RACELESS)')
	CGO_ENABLED=$(if $(RACE),1,0) $(GOTESTSUM) $(RACE) $$(go list ./... | grep -v -E '/e2e|$(RACELESS)')

.PHONY: replay
replay: ## Replay the recorded histories against today's workflows; test does so as well
	go test -count=1 -run 'TestReplay' ./workflows

.PHONY: record-history
record-history: ## Record histories of every scenario anew (after a change that needs it)
	go run ./e2e/histories/record -out workflows/testdata/histories

FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME each
	./hack/fuzz $(FUZZTIME)

# The documents' commands are curl's and openssl's; CI has both.
DOCUMENTS := $(shell command -v curl >/dev/null && command -v openssl >/dev/null || echo "-skip '^TestWalkthrough$$|^TestReadme'")

.PHONY: e2e
e2e: ## Drive the built programs over HTTP, and execute the documents' commands where there are curl and openssl
	@test -z "$(DOCUMENTS)" || echo "no curl or no openssl: the documents' commands are not executed"
	$(GOTESTSUM) -count=1 -timeout 20m -parallel 4 $(DOCUMENTS) $$(go list ./e2e/... | grep -v -E '/e2e/(postgres|docker)$$')

.PHONY: schedules
schedules: ## Run 200 random schedules in a storm of mishaps, on a seed of the day or on SEED
	@seed=$${SEED:-$$(date -u +%Y%m%d)}; echo "seed $$seed: reproduce it with SEED=$$seed make schedules"; \
		SEED=$$seed $(GOTESTSUM) -count=1 -timeout 30m ./e2e/schedules

.PHONY: faults
faults: ## The same batch after batch, for as long as you like; it continues where it was. SEED=7 runs that batch alone
	go run ./e2e/schedules/cmd $(if $(SEED),-seed $(SEED)) $(ARGS)

.PHONY: faults-matrix
faults-matrix: ## Show the counts of what faults has run so far in docs/guarantees.md
	go run ./e2e/schedules/cmd -report e2e/schedules/testdata/totals.json $(ARGS)
	UPDATE=1 go test -count=1 -run '^TestTheMatrixShowsTheLastRun$$' ./e2e/schedules

.PHONY: e2e-postgres
e2e-postgres: ## The same with Temporal on PostgreSQL, and what that store promises; needs PostgreSQL's programs
	@# The lab and the documents start a Temporal of their own: they are the same here.
	GANTRY_E2E_TEMPORAL=postgres $(GOTESTSUM) -count=1 -p 1 -parallel 4 -timeout 20m -skip '^TestWalkthrough$$|^TestReadme|^TestLab' ./e2e ./e2e/postgres

# axe-core finds what people with disabilities can't use. Only tests of pages need it.
AXE := .tools/axe.min.js
.PHONY: axe
axe: $(AXE) ## Fetch axe-core for the tests of pages, with npm
$(AXE): hack/axe
	hack/axe $@
	touch $@

.PHONY: e2e-browser
e2e-browser: $(AXE) ## Drive the pages and Swagger UI in a headless Chromium, which must be installed
	$(GOTESTSUM) -tags browser -count=1 -timeout 10m -run '^TestBrowser' ./e2e ./web

.PHONY: screenshots
screenshots: ## Take the pictures in the documents anew, from the running lab and from pages over made-up answers
	SCREENSHOTS=$(abspath docs/images) go test -tags browser -count=1 -run '^TestBrowserPhase2$$|^TestBrowserShowsExecutions$$|^TestBrowserPagesApprove$$' ./e2e
	SCREENSHOTS=$(abspath docs/images) go test -tags browser -count=1 -run '^TestBrowserPicture' ./web

.PHONY: bench
bench: build ## Measure, as ratios against a baseline in the same run; ARGS='-rows webhook,memory' for two rows alone
	go build -o $(BIN)/gantry-dev ./cmd/gantry-dev
	go run ./e2e/bench -gantry $(BIN)/gantry -lab $(BIN)/gantry-dev $(ARGS)

.PHONY: soak
soak: ## Kill the inbox on a disk that fails, then the product, under load, each for SOAK (default 10m); SEED=7 repeats a disk's faults
	SOAK=$${SOAK:-10m} go test -count=1 -timeout 2h -run 'OnABadDisk$$' -v ./inbox -rapid.checks=5000
	SOAK=$${SOAK:-10m} go test -count=1 -timeout 2h -run TestKill -v ./e2e

.PHONY: mutants
mutants: ## Break Gantry in each way that e2e/schedules/mutants lists, until the checker notices; continues where it was
	mkdir -p dist
	go run ./e2e/schedules/mutants/run -results dist/mutants.jsonl $(ARGS)

.PHONY: mutants-table
mutants-table: ## Show what mutants has found so far in docs/guarantees.md; RESULTS is its file
	mkdir -p e2e/schedules/mutants/testdata
	cp $(or $(RESULTS),dist/mutants.jsonl) e2e/schedules/mutants/testdata/results.jsonl
	UPDATE=1 go test -count=1 -run '^TestTheTableShowsTheLastResults$$' ./e2e/schedules/mutants

.PHONY: check
check: verify contract check-fmt lint workflowcheck fuzz-briefly test e2e ## Everything that CI runs

.PHONY: fuzz-briefly
fuzz-briefly: ## Fuzz every target for 3 seconds each
	./hack/fuzz 3s

.PHONY: clean
clean: ## Remove what builds leave behind
	rm -rf $(BIN) .tools
