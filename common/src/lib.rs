//! The protocols themselves, as pure values: bytes in, messages and deliveries out.
//!
//! In scope: cutting a byte stream into messages, reading and writing each message, who is registered, and
//! what every message does to whom.
//! Out of scope: sockets, threads, clocks, locks, terminals. The crate is `no_std`, so the compiler refuses
//! them; where a rule needs the time, it is a parameter ([`core::time::Duration`] since any fixed moment).
//!
//! - [`frame`]: a byte stream cut into messages, every one bounded.
//! - [`text`]: what may be shown on a terminal, and what may be a name.
//! - [`roster`]: who is registered under which name.
//! - [`deliveries`]: the bytes that each recipient gets, in order.
//! - [`lobby`]: `JOIN`, `LIST`, `MESG`, `BCST`, `QUIT`.
//! - [`overlay`]: clients over UDP, links between servers, and no loops.
//! - [`channels`]: messages of exactly 200 bytes, one channel at a time.
//! - [`room`]: everyone hears everyone, over TCP or over UDP.
//! - [`bridge`]: register, be introduced, and chat peer to peer.
//!
//! Nothing in here panics, whatever bytes a peer sends; the tests feed random ones to every decoder.

#![no_std]

extern crate alloc;

pub mod bridge;
pub mod channels;
pub mod deliveries;
pub mod frame;
pub mod lobby;
pub mod overlay;
pub mod room;
pub mod roster;
pub mod text;
