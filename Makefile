# The targets that people and CI use. See README.md.

TAGS  := nobadger,nomysql,nopgx
GO    := go
FUZZ  ?= 10s
LINT_VERSION := v2.15.0

.PHONY: build test race lint bench fuzz golden help

build: ## the program, as bin/consentgate
	$(GO) build -tags $(TAGS) -o bin/consentgate ./cmd/consentgate

test: redis ## all tests
	$(GO) test -tags $(TAGS) ./...

race: redis ## all tests under the race detector
	$(GO) test -tags $(TAGS) -race ./...

lint: bin/golangci-lint ## gofmt, go vet and golangci-lint
	@test -z "$$(gofmt -l .)" || { echo 'not formatted; run gofmt -w on:'; gofmt -l .; exit 1; }
	bin/golangci-lint run --build-tags $(TAGS) ./...

bench: redis ## the ratios that the documentation quotes
	$(GO) test ./internal/payload -run '^$$' -bench 'Ratio|Hostile' -benchtime 10x
	$(GO) test -tags $(TAGS) ./caddymodule -run '^$$' -bench 'Gateway|Detection' -benchtime 100x
	$(GO) test -tags $(TAGS) ./caddymodule -run '^$$' -bench 'ForwardThroughput|ForwardLatency' -benchtime 5x -timeout 20m
	$(GO) test -tags $(TAGS) ./caddymodule -run '^$$' -bench ForwardMemory -benchtime 1x

fuzz: ## every fuzz target for FUZZ (10s)
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -tags $(TAGS) -list '^Fuzz' $$pkg | grep ^Fuzz); do \
			echo "$$pkg $$target"; \
			$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZ) $$pkg || exit 1; \
		done; \
	done

golden: ## regenerate the golden files, to be reviewed as a diff
	$(GO) test -tags $(TAGS) ./rules ./caddymodule ./internal/risk -update

.PHONY: redis
redis:
	@command -v redis-server >/dev/null || { \
		echo 'installing redis-server, which the tests of the Redis store start'; \
		(apt-get install -y redis-server || (apt-get update && apt-get install -y redis-server)) >/dev/null 2>&1; \
		command -v redis-server >/dev/null; } || { \
		echo 'The tests need redis-server on the PATH, and it could not be installed: install Redis 7 or newer and run make test again.' >&2; exit 1; }

bin/golangci-lint:
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile
