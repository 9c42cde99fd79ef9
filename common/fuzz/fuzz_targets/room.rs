//! Fuzzes [`chat_fuzz::room`].

#![no_main]

use chat_fuzz::room::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
