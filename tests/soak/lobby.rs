//! The lobby.

use crate::guest::{Attentive, Guest};
use crate::hall::{Hall, Wire};
use crate::program::{Script, serve};
use crate::scene::Scene;
use crate::talk::{Manner, Talk, Voice};
use crate::watched::Watched;

const LOBBY: Wire = Wire {
    join: |name| format!("JOIN {name}\n").into(),
    welcome: "joined!Connected to server!",
    full: "Too Many Users",
    taken: Some("is already taken"),
    say: |text| format!("BCST {text}\n").into(),
    tell: |to, text| format!("MESG {to} {text}\n").into(),
    left: |name| format!("{name} left"),
    ask: || "LIST\nMESG bob psst\nMESG nobody psst\nMESG\nBCST\nDANCE\nJOIN again\n\n\0\n".into(),
    quit: "QUIT\n",
    script: Script {
        arguments: |port, _| ["lobby", "127.0.0.1", &port.to_string()].map(str::to_owned).into(),
        join: |name| format!("JOIN {name}\n"),
        inside: &["joined!Connected to server!"],
        refused: &["is already taken", "Too Many Users"],
        say: |text| format!("BCST {text}\nLIST\n"),
        quit: Some("QUIT"),
    },
};

/// A server, and a steady pair: ann by hand, and bob through our client.
pub(crate) fn open() -> Scene {
    let server = serve("lobby", &[]);
    let hall = Hall::new(&server, &LOBBY, "ann");
    let Guest { source: ann, .. } = hall.enter("ann").expect("a place for ann");
    let bob = LOBBY.script.start(server.port(), "bob").expect("a place for bob").source;
    let watched = vec![Watched::server("lobby", server.into(), 2), Watched::client("lobby client", &bob)];
    let ann = Voice::new("ann", Attentive::from(ann), |text| format!("MESG bob {text}\n"));
    let bob = Voice::new("bob", bob, |text| format!("BCST {text}\n"));
    let talk = Talk::new([ann, bob], Manner::Freely);
    Scene::new(watched, vec![talk], move |wave| hall.wave(wave, &[]))
}
