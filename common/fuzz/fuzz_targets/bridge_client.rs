//! Fuzzes [`chat_fuzz::bridge_client`].

#![no_main]

use chat_fuzz::bridge_client::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
