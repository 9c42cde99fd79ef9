//! What every bench of a chat server needs, whatever its protocol:
//!
//! - [`options`]: the command line of a bench;
//! - [`contender`]: a server under measurement, a process of its own, and what it uses of memory, threads and
//!   processor;
//! - [`processors`]: which of them the load has, and which a contender;
//! - [`party`]: clients that speak TCP, and the load that they make, with [`client`] for one of them and
//!   [`sleeper`] for one that has stopped reading;
//! - [`audience`]: clients that speak UDP, and the load that they make;
//! - [`floor`]: the least that a relay can do, which servers are compared with;
//! - [`sides`]: a server and a floor, each with its load, and what is measured of either;
//! - [`sockets`]: which connections there are;
//! - [`rounds`]: contenders measured by turns;
//! - [`report`]: the figures as a table and as CSV.
//!
//! A bench brings a `Wire` for its protocol ([`party::Wire`] or [`audience::Wire`]), and says what to measure.

#![allow(dead_code, reason = "every bench is a program of its own, and uses a part of this")]

pub(crate) mod audience;
pub(crate) mod client;
pub(crate) mod contender;
pub(crate) mod floor;
pub(crate) mod options;
pub(crate) mod party;
pub(crate) mod processors;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod sides;
pub(crate) mod sleeper;
pub(crate) mod sockets;
