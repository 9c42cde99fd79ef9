# Everything people call: `make` lists it. Each target is a line or two of cargo, so nothing is hidden.

PROTOCOL ?= lobby
HOST     ?= 127.0.0.1
PORT     ?= 8001
# The port where a client of the bridge listens; 0 is any free one.
CLIENT_PORT ?= 0

# A protocol is a name, and what stands behind it on the two command lines.
PROTOCOLS := lobby overlay channels room bridge

SERVER_lobby   = $(PORT)
CLIENT_lobby   = '$(HOST)' $(PORT) $(if $(NAME),--name '$(NAME)')

SERVER_overlay = -p $(PORT) $(if $(OVERLAY),-o '$(OVERLAY)') $(if $(PEER),-s '$(peer_host)' -t '$(peer_port)')
CLIENT_overlay = -s '$(HOST)' -p $(PORT) -n '$(NAME)'

SERVER_channels = $(PORT)
CLIENT_channels = '$(NAME)' '$(HOST)' $(PORT)

SERVER_room    = $(if $(UDP),--udp) $(PORT)
CLIENT_room    = $(if $(UDP),--udp,--lines) --name '$(NAME)' --host '$(HOST)' $(PORT)

SERVER_bridge  = --port=$(PORT) $(if $(CONTACTS),--contacts='$(CONTACTS)') $(if $(RESUME),--resume)
CLIENT_bridge  = --id='$(NAME)' --port=$(CLIENT_PORT) --server='$(HOST):$(PORT)'

# The two programs, built together: other selections have other features, and build anew.
PROGRAMS := --bin chat-server --bin chat-client

# A fuzz target for each decoder, and for how many seconds each is run.
FUZZ       := frame block text $(PROTOCOLS) bridge_client
FUZZ_CRATE := common/fuzz/Cargo.toml
SECONDS    ?= 60

.PHONY: help build run-server run-client demo demo-tmux test test-program lint bench soak fuzz

help: ## list what there is (this)
	@echo 'usage: make TARGET [VARIABLE=VALUE...]'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
	  | while IFS='|' read -r target text; do printf '  %-13s %s\n' "$$target" "$$text"; done
	@echo
	@echo 'PROTOCOL is one of: $(PROTOCOLS).'
	@echo 'overlay:  a server takes links with OVERLAY=9101, and makes one with PEER=127.0.0.1:9101.'
	@echo 'room:     UDP=1 for both.'
	@echo 'bridge:   a client listens on CLIENT_PORT=3000; a server takes CONTACTS=FILE and RESUME=1.'
	@echo 'Clients of all but the lobby need a NAME.'

build: ## build server and client, optimized
	cargo build --release $(PROGRAMS)

run-server: ## run a server      [PORT=8001] [PROTOCOL=lobby] [BIND=127.0.0.1] [MAX_CLIENTS=10] [ARGS=--help]
	$(call check_protocol)$(call check_numbers,PORT OVERLAY,65535)$(call check_numbers,MAX_CLIENTS,10000)$(call check_peer)
	@cargo build --release --bin chat-server
	@exec cargo run --release --quiet --bin chat-server -- $(PROTOCOL) $(SERVER_$(PROTOCOL)) \
	  $(if $(BIND),--bind '$(BIND)') $(if $(MAX_CLIENTS),--max-clients $(MAX_CLIENTS)) $(ARGS)

run-client: ## run a client      [HOST=127.0.0.1] [PORT=8001] [PROTOCOL=lobby] [NAME=Alice] [ARGS=--help]
	$(call check_protocol)$(call check_numbers,PORT CLIENT_PORT,65535)$(if $(filter lobby,$(PROTOCOL)),,$(call check_name))
	@cargo build --release --bin chat-client
	@exec cargo run --release --quiet --bin chat-client -- $(PROTOCOL) $(CLIENT_$(PROTOCOL)) $(ARGS)

demo: ## watch the sample sessions of the course texts: all, or one [PROTOCOL=overlay] [ARGS=--fast]
	$(call check_protocol)
	@cargo build --release $(PROGRAMS) --bin demo
	@exec cargo run --release --quiet --bin demo -- $(ARGS) $(if $(filter file,$(origin PROTOCOL)),,$(PROTOCOL))

demo-tmux: ## the programs of a sample session in tmux, for you to type into [PROTOCOL=lobby] [ARGS=--help]
	$(call check_protocol)
	@cargo build --release $(PROGRAMS) --bin demo
	@exec cargo run --release --quiet --bin demo -- --tmux $(ARGS) $(PROTOCOL)

test: ## run every test
	cargo test --workspace
	cargo test --manifest-path $(FUZZ_CRATE)

test-program: ## run the lobby's tests on your program  SERVER='python3 server.py {port}' or CLIENT='python3 client.py {host} {port}'
	CHAT_LOBBY_SERVER='$(SERVER)' CHAT_LOBBY_CLIENT='$(CLIENT)' cargo test -p chat-tests --test it lobby::

lint: ## check format, lints and documentation; a warning is an error
	cargo fmt --all --check
	cargo fmt --manifest-path $(FUZZ_CRATE) --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p chat-client --all-targets --no-default-features -- -D warnings
	cargo clippy --manifest-path $(FUZZ_CRATE) --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items

bench: ## measure the servers against bare relays  [ARGS=--short]; writes bench*.csv
	cargo build --release $(PROGRAMS)
	for bench in lobby overlay channels room; do \
	  cargo bench -p chat-tests --bench $$bench -- $(ARGS) || exit 1; done

# Without PROTOCOL on the command line, all of them at the same time.
soak: ## ten minutes of clients that come, misbehave and are killed  [MINUTES=10] [PROTOCOL=lobby] [ARGS=--help]; writes soak.csv
	$(call check_protocol)
	cargo build --release $(PROGRAMS) --bin soak
	@exec cargo run --release --quiet --bin soak -- $(if $(MINUTES),--minutes '$(MINUTES)') $(ARGS) \
	  $(if $(filter-out file,$(origin PROTOCOL)),$(PROTOCOL))

fuzz: ## feed every decoder what a fuzzer finds  [TARGET=lobby] [SECONDS=60]
	$(call check_target)$(call check_numbers,SECONDS,86400)
	@cargo fuzz --version >/dev/null 2>&1 || \
	  { echo 'cargo-fuzz is missing (it needs a C++ compiler, too): cargo install cargo-fuzz --locked' >&2; exit 1; }
	cd common && for target in $(or $(TARGET),$(FUZZ)); do \
	  mkdir -p fuzz/corpus/$$target && \
	  cargo fuzz run --sanitizer none --features libfuzzer $$target fuzz/corpus/$$target fuzz/cases/$$target -- \
	    -max_total_time=$(SECONDS) -max_len=1024 -len_control=10 -timeout=10 -rss_limit_mb=512 || exit 1; done

# A wrong value is one line, said before anything is built.
check_protocol = $(if $(filter $(PROTOCOLS),$(PROTOCOL)),,$(error there is no PROTOCOL '$(PROTOCOL)': use one of $(PROTOCOLS)))
check_target   = $(if $(filter-out $(FUZZ),$(TARGET)),$(error there is no TARGET '$(TARGET)': use one of $(FUZZ)))
check_name     = $(if $(NAME),,$(error NAME is missing: a client of this protocol needs one, such as NAME=ann))
check_peer     = $(if $(PEER),$(if $(call is_number,$(peer_port),65535),,$(error PEER must be HOST:PORT, not '$(PEER)')))

# $(call check_numbers,VARIABLES,MAXIMUM): those that are set.
check_numbers = $(foreach variable,$1,$(if $($(variable)),$(if $(call is_number,$($(variable)),$2),,$(error \
  $(variable) must be a number up to $2, not '$($(variable))'))))
is_number     = $(shell expr '$1' : '[0-9]\{1,5\}$$' >/dev/null && test '$1' -le $2 && echo yes)

# PEER=127.0.0.1:9101 or PEER=[::1]:9101
peer_port = $(shell peer='$(PEER)'; echo "$${peer##*:}")
peer_host = $(shell peer='$(PEER)'; echo "$${peer%:*}" | tr -d '[]')
