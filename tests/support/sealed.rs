//! What the tests of sessions have in common: handlers that count, somebody on the way, and what that one may change.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use wakering::message::{Builder, Incoming, Kind, Message, Session, Value};

pub(crate) fn with_session(required: bool) -> Builder {
    Builder::new().session(Session::new("a long random secret").require(required))
}

/// Counts how often its handlers run.
pub(crate) fn counting(builder: Builder) -> (Builder, Rc<Cell<u32>>) {
    let calls: Rc<Cell<u32>> = Rc::default();
    let handler = |kind: Kind| {
        let calls = calls.clone();
        move |incoming: Incoming| {
            calls.set(calls.get() + 1);
            async move { Some(incoming.answer(kind, incoming.message.content.clone())) }
        }
    };
    let builder =
        builder.on(Kind::REQUEST_URI, handler(Kind::RESPOND_URI)).on(Kind::DELETE_URI, handler(Kind::OK));
    (builder, calls)
}

/// Whither a message goes, as somebody on the way sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    There,
    Back,
}

/// What has gone by.
pub(crate) type Seen = Rc<RefCell<Vec<(Way, Message)>>>;

pub(crate) type Change = fn(&mut Message);

/// What somebody may change in a sealed message, in words too.
pub(crate) const CHANGES: [(&str, Change); 9] = [
    ("type", |message| message.kind = Kind::DELETE_URI),
    ("session", |message| flip(message, "seal", 0)),
    ("time", |message| flip(message, "seal", 7)),
    ("number", |message| flip(message, "seal", 15)),
    ("request's number", |message| message.fields.set("id", Value::Int(99))),
    ("a field more", |message| message.fields.set("re", Value::Int(1))),
    ("no seal", |message| _ = message.fields.remove("seal")),
    ("uri", |message| message.uri = "x".into()),
    ("content", |message| {
        let mut octets = message.content.to_vec();
        octets[3] ^= 1;
        message.content = octets.into();
    }),
];

fn flip(message: &mut Message, field: &str, at: usize) {
    let mut octets = message.fields.octets(field).expect("the field").to_vec();
    octets[at] ^= 1;
    message.fields.set_octets(field, &octets);
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
