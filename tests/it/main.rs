//! Black-box tests, one module for each protocol, two for what holds for all of them, and one for the demo.
//!
//! Each test names the clauses that it checks (`A…`, `L…`: docs/protocols; `S…`: "Sending" in ARCHITECTURE.md) in its name
//! and quotes them above it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "this is test code: it fails by panicking, and cargo shows what a failed test printed"
)]

mod bridge;
mod channels;
mod checks;
mod demo;
mod life;
mod limits;
mod lobby;
mod overlay;
mod room;
mod soak;
