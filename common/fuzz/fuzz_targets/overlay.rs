//! Fuzzes [`chat_fuzz::overlay`].

#![no_main]

use chat_fuzz::overlay::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
