//! Fuzzes [`chat_fuzz::block`].

#![no_main]

use chat_fuzz::block::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
