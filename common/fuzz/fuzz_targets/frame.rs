//! Fuzzes [`chat_fuzz::frame`].

#![no_main]

use chat_fuzz::frame::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
