//! What several suites check in the same way.

use chat_tests::Setup;
use chat_tests::wait::{Log, fail, same};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A8: bare calls and `--help` print `server` and `client`, the first lines of the two usages, on stdout.
#[track_caller]
pub(crate) fn check_usages(protocol: &str, server: &str, client: &str) {
    for (setup, usage) in [(Setup::server as fn(&[&str]) -> Setup, server), (Setup::client, client)] {
        for (arguments, status) in [(&[protocol][..], 2), (&[protocol, "--help"], 0)] {
            let mut process = setup(arguments).start();
            process.stdout.expect(usage);
            process.expect_exit(status);
            same(&String::new(), &process.stderr.rest(), process.log());
        }
    }
}

/// A8: the command line is wrong: one line that names `value`, and the usage, on stderr, and status 2.
#[track_caller]
pub(crate) fn check_wrong(setup: Setup, value: &str) {
    let mut process = setup.start();
    process.expect_exit(2);
    let (stdout, stderr) = (process.stdout.rest(), process.stderr.rest());
    same(&String::new(), &stdout, process.log());
    let (first, rest) = stderr.split_once('\n').unwrap_or((&stderr, ""));
    assert!(first.contains(value), "\nwanted: a first line that names {value:?}\n  have: {stderr:?}");
    assert!(rest.contains("usage: chat-"), "\nwanted: the usage behind it\n  have: {stderr:?}");
}

/// A15: no character that moves a cursor, other than line ends and tabs.
#[track_caller]
pub(crate) fn check_bearable(text: &str) {
    let unbearable = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(unbearable), "\nwanted: text that a terminal can bear\n  have: {text:?}");
}

/// Tries the property, which fails by panicking, on so many random inputs.
#[track_caller]
pub(crate) fn check_property<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value)) {
    // A failed case leaves its connections in the middle of a conversation: a smaller one could not use them.
    let config = Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, |input| {
        property(input);
        Ok(())
    });
    if let Err(error) = outcome {
        fail("a property that holds", &error.to_string(), &Log::default());
    }
}
