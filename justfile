# The door for people. `just` lists the recipes.

_default:
    @just --list

# Run the product on the embedded store and print the page's URL.
run *ARGS:
    cargo run --release -- serve {{ARGS}}

# Every check, installing what it needs.
test *ARGS:
    scripts/test {{ARGS}}

# What CI runs.
ci:
    .ci/run

# Formatting and lints.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Rewrite the references under docs/ that are generated from the code.
bless:
    QUIKAPP_BLESS=1 cargo test -p quikapp-config -p quikapp-realtime -- reference declarations

# Replay the recordings of a real Phoenix server.
conformance:
    cargo test --test conformance -- --nocapture

# The real phoenix.js under node, and the page in headless Chromium.
js:
    scripts/test --only js

# Real servers for the tests: `just backends up`, `status`, `down`; see target/backends/env.
backends *ARGS:
    scripts/backends {{ARGS}}

# Fuzz every target for so many seconds each (default an hour).
fuzz SECONDS="3600":
    scripts/fuzz {{SECONDS}}

# Load a running server, e.g. `just bench fanout --url http://127.0.0.1:4000`.
bench *ARGS:
    cargo run --release -- bench {{ARGS}}

# Delivery under faults of one node, and of the servers behind it, in full size: about an hour;
# disks that fail need root.
faults:
    cargo test -p quikapp-storage --test embedded faults -- --nocapture
    scripts/backends up
    set -a; . ${CARGO_TARGET_DIR:-target}/backends/env; \
    QUIKAPP_FAULTS=full TEST_REQUIRE_BACKENDS=1 \
    cargo test -p quikapp --test it faults -- --nocapture --test-threads 2; \
    outcome=$?; scripts/backends down; exit $outcome

# A stalled reader among a thousand, and a crowd at the door.
crowds:
    QUIKAPP_CROWDS=full cargo test -p quikapp --test it crowds -- --nocapture --test-threads 1

# Where the server's time goes under a load, e.g. `just profile rooms --rooms 100 --members 10`.
profile *ARGS:
    scripts/profile {{ARGS}}

# QuikApp and its peers side by side, e.g. `just compare --quick`.
compare *ARGS:
    benches/compare/compare {{ARGS}}
