//! Fuzzes [`chat_fuzz::text`].

#![no_main]

use chat_fuzz::text::Input;

libfuzzer_sys::fuzz_target!(|input: Input<'_>| input.check());
