//! Fuzzes [`chat_fuzz::bridge`].

#![no_main]

use chat_fuzz::bridge::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
