//! Channels.

use crate::crowd::{Deed, Visitor};
use crate::guest::{Attentive, Guest};
use crate::hall::{Hall, Wire};
use crate::program::{Script, serve};
use crate::scene::Scene;
use crate::talk::{Manner, Talk, Voice};
use crate::watched::Watched;

/// How many bytes every message has.
const SIZE: usize = 200;

/// How many other channels there are. They stay when everyone has left, so there must be an end to them.
const OTHERS: usize = 20;

const CHANNELS: Wire = Wire {
    // Nothing is said to a newcomer, but an unknown command is answered, and proves that it is in.
    join: |name| [message(name), message("/join soak"), message("/dance")].concat(),
    welcome: "/dance is not a valid control message",
    full: "Server is full",
    taken: None,
    say: message,
    tell: |_, text| message(text),
    left: |name| format!("{name} has left"),
    ask: || {
        let asked = ["/list", "/create", "/join", "/join nowhere", "/create soak", "/join soak", " "];
        asked.map(message).concat()
    },
    quit: "",
    script: Script {
        arguments: |port, name| ["channels", name, "127.0.0.1", &port.to_string()].map(str::to_owned).into(),
        join: |_| "/join soak\n/dance\n".into(),
        inside: &["/dance is not a valid control message"],
        refused: &["Server is full"],
        say: |text| format!("{text}\n/list\n"),
        quit: None,
    },
};

/// What can be done only here.
const DEEDS: [Deed<Hall>; 1] = [walk_about];

/// A server, and a steady pair in the channel where visitors talk, too: ann by hand, and bob through our
/// client.
pub(crate) fn open() -> Scene {
    let server = serve("channels", &[]);
    let hall = Hall::new(&server, &CHANNELS, "ann");
    let mut ann = hall.connect();
    ann.say([message("ann"), message("/create soak"), message("/dance")].concat());
    ann.hear(&[CHANNELS.welcome]).expect("a place for ann");
    for number in 0..OTHERS {
        ann.say(message(&format!("/create other-{number}")));
    }
    ann.say(message("/join soak"));
    let Guest { source: ann, .. } = ann;
    let bob = CHANNELS.script.start(server.port(), "bob").expect("a place for bob").source;
    let watched =
        vec![Watched::server("channels", server.into(), 2), Watched::client("channels client", &bob)];
    let ann = Voice::new("ann", Attentive::from(ann), |text| format!("{text:SIZE$}"));
    let bob = Voice::new("bob", bob, |text| format!("{text}\n"));
    let talk = Talk::new([ann, bob], Manner::Freely);
    Scene::new(watched, vec![talk], move |wave| hall.wave(wave, &DEEDS))
}

/// Texts in as many messages as they need, the last of them padded.
fn message(text: &str) -> Vec<u8> {
    let pad = text.len().max(1).next_multiple_of(SIZE) - text.len();
    [text.as_bytes(), &b" ".repeat(pad)].concat()
}

/// From channel to channel.
fn walk_about(hall: &Hall, visitor: &mut Visitor) {
    let Some(mut guest) = hall.enter(&visitor.name()) else { return };
    for _ in 0..visitor.rng.usize(1..20) {
        let number = visitor.rng.usize(..OTHERS);
        guest.say(message(&format!("/join other-{number}")));
        guest.say(message(&visitor.text()));
    }
}
