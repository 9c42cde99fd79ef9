//! Fuzzes [`chat_fuzz::channels`].

#![no_main]

use chat_fuzz::channels::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
