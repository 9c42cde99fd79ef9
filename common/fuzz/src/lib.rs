//! Fuzz targets: every decoder and the state behind it, held against its clauses.
//!
//! A target is a module with an `Input`: what peers do, made of whatever bytes the fuzzer comes up with.
//! `Input::check` plays it and panics where a clause is broken. The programs in `fuzz_targets` hand it to
//! libFuzzer, on any toolchain: `make fuzz`. The tests of this library play the cases that are kept, on every
//! `make test`.
//!
//! - [`frame`], [`block`], [`text`]: bytes into messages, and into what a terminal may be shown.
//! - [`lobby`], [`channels`], [`room`]: several clients of one server.
//! - [`bridge`], [`bridge_client`]: who is introduced to whom, and how two peers take turns.
//! - [`overlay`]: several servers, their links and their clients.

pub mod block;
pub mod bridge;
pub mod bridge_client;
pub mod channels;
pub mod frame;
pub mod input;
pub mod lobby;
pub mod overlay;
pub mod room;
pub mod text;

#[cfg(test)]
mod tests {
    use super::*;
    use arbitrary::{Arbitrary, Unstructured};
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// A target's name, and how it plays the bytes of a case.
    type Target = (&'static str, fn(&[u8]));

    /// Every target.
    const TARGETS: [Target; 9] = [
        ("block", |bytes| input::<block::Input<'_>>(bytes).check()),
        ("bridge", |bytes| input::<bridge::Input<'_>>(bytes).check()),
        ("bridge_client", |bytes| input::<bridge_client::Input<'_>>(bytes).check()),
        ("channels", |bytes| input::<channels::Input<'_>>(bytes).check()),
        ("frame", |bytes| input::<frame::Input<'_>>(bytes).check()),
        ("lobby", |bytes| input::<lobby::Input<'_>>(bytes).check()),
        ("overlay", |bytes| input::<overlay::Input<'_>>(bytes).check()),
        ("room", |bytes| input::<room::Input<'_>>(bytes).check()),
        ("text", |bytes| input::<text::Input<'_>>(bytes).check()),
    ];

    /// What libFuzzer would make of these bytes.
    fn input<'a, I: Arbitrary<'a>>(bytes: &'a [u8]) -> I {
        I::arbitrary_take_rest(Unstructured::new(bytes)).expect("the bytes are an input")
    }

    /// The files of a folder of this crate.
    fn files(folder: &str) -> Vec<PathBuf> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    #[test]
    fn every_kept_case_passes() {
        for (name, play) in TARGETS {
            let cases = files(&format!("cases/{name}"));
            assert!(!cases.is_empty(), "{name} has no case");
            for case in cases {
                println!("{}", case.display());
                play(&fs::read(case).expect("a file"));
            }
        }
    }

    #[test]
    fn every_target_is_played() {
        let stem = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let programs: BTreeSet<_> = files("fuzz_targets").iter().filter_map(stem).collect();
        let played: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_string()).collect();
        assert_eq!(programs, played);
    }
}
