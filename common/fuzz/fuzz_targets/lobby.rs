//! Fuzzes [`chat_fuzz::lobby`].

#![no_main]

use chat_fuzz::lobby::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
