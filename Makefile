# Everything people call: `make` lists it. Each target is a line or two of cargo, so nothing is hidden.

PROTOCOL ?= lobby
HOST     ?= 127.0.0.1
PORT     ?= 8001

PROTOCOLS := lobby

.PHONY: help build run-server run-client test test-program lint bench

help: ## list what there is (this)
	@echo 'usage: make TARGET [VARIABLE=VALUE...]'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
	  | while IFS='|' read -r target text; do printf '  %-13s %s\n' "$$target" "$$text"; done

build: ## build server and client, optimized
	cargo build --release -p chat-server -p chat-client

run-server: ## run a server      [PORT=8001] [PROTOCOL=lobby] [BIND=127.0.0.1] [MAX_CLIENTS=10] [ARGS=--help]
	$(call check_protocol)$(call check_number,PORT,65535)$(if $(MAX_CLIENTS),$(call check_number,MAX_CLIENTS,10000))
	@cargo build --release -p chat-server
	@exec cargo run --release --quiet -p chat-server -- $(PROTOCOL) $(PORT) \
	  $(if $(BIND),--bind '$(BIND)') $(if $(MAX_CLIENTS),--max-clients $(MAX_CLIENTS)) $(ARGS)

run-client: ## run a client      [HOST=127.0.0.1] [PORT=8001] [PROTOCOL=lobby] [NAME=Alice] [ARGS=--help]
	$(call check_protocol)$(call check_number,PORT,65535)
	@cargo build --release -p chat-client
	@exec cargo run --release --quiet -p chat-client -- $(PROTOCOL) '$(HOST)' $(PORT) \
	  $(if $(NAME),--name '$(NAME)') $(ARGS)

test: ## run every test
	cargo test --workspace

test-program: ## run the lobby's tests on your program  SERVER='python3 server.py {port}' or CLIENT='python3 client.py {host} {port}'
	CHAT_LOBBY_SERVER='$(SERVER)' CHAT_LOBBY_CLIENT='$(CLIENT)' cargo test -p chat-tests --test it lobby::

lint: ## check format, lints and documentation; a warning is an error
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p chat-client --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

bench: ## measure the server against a bare relay  [ARGS=--short]; writes bench.csv
	cargo build --release -p chat-server
	cargo bench -p chat-tests --bench lobby -- $(ARGS)

# A wrong value is one line, said before anything is built.
check_protocol = $(if $(filter $(PROTOCOLS),$(PROTOCOL)),,$(error there is no PROTOCOL '$(PROTOCOL)': use $(PROTOCOLS)))

# $(call check_number,VARIABLE,MAXIMUM)
check_number = $(if $(shell expr '$($1)' : '[0-9]\{1,5\}$$' >/dev/null && test '$($1)' -le $2 && echo fine),,$(error $1 must be a number up to $2, not '$($1)'))
