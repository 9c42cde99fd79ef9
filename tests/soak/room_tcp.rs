//! The room over TCP: visitors who send lines, and visitors who send bare bytes.

use chat_tests::DEADLINE;

use crate::crowd::{Deed, Visitor};
use crate::guest::{Attentive, Guest};
use crate::hall::{Hall, Wire};
use crate::program::{End, Script, launch, serve};
use crate::scene::Scene;
use crate::talk::{Manner, Talk, Voice};
use crate::watched::Watched;

const ROOM: Wire = Wire {
    join: |name| format!("{name}\n").into(),
    welcome: "Welcome",
    full: "Room is full",
    taken: Some("Name already taken"),
    say: |text| format!("{text}\n").into(),
    tell: |_, text| format!("{text}\n").into(),
    left: |name| format!("User {name} left"),
    ask: || "join\n exit\n\n\0\n".into(),
    quit: "exit\n",
    script: Script {
        arguments: |port, name| {
            ["room", "--lines", "--name", name, &port.to_string()].map(str::to_owned).into()
        },
        ..BARE
    },
};

/// Our client as it is without `--lines`: it says nothing when it is admitted, but hears itself be talked to.
const BARE: Script = Script {
    arguments: |port, name| ["room", "--name", name, &port.to_string()].map(str::to_owned).into(),
    join: |_| String::new(),
    inside: &["ann#", "bob#"],
    refused: &["Name already taken", "Room is full"],
    say: |text| format!("{text}\n"),
    quit: Some("exit"),
};

/// What can be done only here.
const DEEDS: [Deed<Hall>; 2] = [talk_without_lines, use_our_bare_client];

/// A server, and a steady pair: ann by hand, and bob through our client.
pub(crate) fn open() -> Scene {
    let server = serve("room", &[]);
    let hall = Hall::new(&server, &ROOM, "ann");
    let mut ann = hall.enter("ann").expect("a place for ann");
    let bob = launch(&(ROOM.script.arguments)(server.port(), "bob"));
    ann.hear(&["User bob joined"]).expect("a place for bob");
    let Guest { source: ann, .. } = ann;
    let watched =
        vec![Watched::server("room (TCP)", server.into(), 2), Watched::client("room (TCP) client", &bob)];
    let ann = Voice::new("ann", Attentive::from(ann), |text| format!("{text}\n"));
    let bob = Voice::new("bob", bob, |text| format!("{text}\n"));
    let talk = Talk::new([ann, bob], Manner::Freely);
    Scene::new(watched, vec![talk], move |wave| hall.wave(wave, &DEEDS))
}

/// A program of the kind for which one read is one message.
fn talk_without_lines(hall: &Hall, visitor: &mut Visitor) {
    let mut guest = hall.connect();
    guest.say(visitor.name());
    let answers = [ROOM.welcome, ROOM.full];
    assert!(guest.hear(&answers).is_some(), "wanted: one of {answers:?}\nhave: no answer in time");
    guest.say(visitor.text());
    if visitor.rng.bool() {
        guest.source.half_close();
        guest.source.expect_gone(DEADLINE);
    }
}

fn use_our_bare_client(hall: &Hall, visitor: &mut Visitor) {
    let Some(mut client) = BARE.start(hall.port(), &visitor.name()) else { return };
    BARE.say(&mut client, &visitor.text());
    BARE.end(client, End::any(&mut visitor.rng));
}
