# `make` or `make help` lists what there is. Everything here is a plain command that
# works without make as well.

FUZZTIME ?= 30s
FUZZPKG  ?= ./...
EXPLORE  ?= # -short for the small models only
KILLS    ?= 10000
SEED     ?=
BENCH    ?= # -only lock,queue for some of it; see bench/main.go

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## the tour: every capability with real processes, one line per check
	go run ./cmd/demo

.PHONY: test
test: ## all tests
	go test ./...

.PHONY: race
race: ## all tests under the race detector
	go test -race ./...

.PHONY: lint
lint: ## gofmt, go vet for three platforms, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l . ; echo 'run gofmt -w on these'; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./...
	GOARCH=arm64 go vet ./...
	cd tools && go build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck ./...

.PHONY: ci
ci: ## what has to hold before a change goes in: tests, race, lint, nothing left behind
	.ci/run

.PHONY: many
many: ## start 2,000 children one by one and 200 at once, by each method, and look for what they leave
	PROCESS_TEST_MANY=1 go test -count=1 -v -run TestManyChildren ./process

.PHONY: bench
bench: ## measure beside Python, Redis and bare system calls, to bench/result.json (ten minutes); BENCH='-only queue'
	cd bench && CGO_ENABLED=0 go run . $(BENCH)

.PHONY: figures
figures: ## write the tables and figures of docs/performance.md and the README from bench/result.json
	cd bench && go run ./figures

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s) each; FUZZPKG=./pipe for one package
	@set -e; for pkg in $$(go list $(FUZZPKG)); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: soak
soak: ## a minute each of random bytes on the manager's socket and in its rings, and a huge value; SOAK=10m for longer
	MULTIPROC_SOAK=$(or $(SOAK),1m) go test -count=1 -v -timeout 0 -run 'Garbage|Huge' ./manager

.PHONY: torture
torture: ## kill processes at random over every kind of object: KILLS=10000 in all, SEED=n to repeat
	KILLS=$(KILLS) SEED=$(SEED) go test -count=1 -v -timeout 0 ./tests/torture

.PHONY: explore
explore: ## every interleaving of what is shared, with deaths: states and time of each model (minutes, 3 GB)
	@bash -o pipefail -c 'go test -tags multiproc_explore -count=1 -p 1 -v -timeout 0 -run "^TestExplore" $(EXPLORE) \
		$$(find . -name "explore*_test.go" -exec dirname {} + | sort -u) | awk -f .ci/explored.awk'

.PHONY: cover
cover: ## test coverage by package
	go test -cover ./...

.PHONY: clean
clean: ## remove what make built
	rm -rf bin
