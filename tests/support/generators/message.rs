//! Messages: frames and values of any octets, what was signed and then changed, sessions on a way that loses, repeats and
//! changes, and the requests of one peer against a simple account of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use wakering::internals::message::{
    Begun, Channel, Decoder, Kind, Kinds, Message, Order, Requests, Session, Ticket, Value,
    plugins::{AuthPlugin, Binding, BoxCipher, CipherPlugin, HmacAuth, Scene, StreamCipher, WitnessAuth},
    repeat_number,
};

use super::tape::Tape;

const NOW: u32 = 0x6543_2100;
const KINDS: [Kind; 8] = [
    Kind::REQUEST_URI,
    Kind::RESPOND_URI,
    Kind::OK,
    Kind::CREATE_URI,
    Kind::SUBSCRIBE_URI,
    Kind::CONFIRM_SUBSCRIBE,
    Kind::NOT_FOUND,
    Kind::ERROR,
];

pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    match tape.below(5) {
        0 => frames(&mut tape),
        1 => values(tape.rest()),
        2 => plugins(&mut tape),
        3 => session(&mut tape),
        _ => requests(&mut tape),
    }
}

/// Runs `body` with octets that nobody has to be surprised by.
fn on_scene<R>(body: impl FnOnce(&mut Scene<'_>) -> R) -> R {
    let mut state = 7u8;
    let mut random = |octets: &mut [u8]| {
        octets.iter_mut().for_each(|octet| {
            state = state.wrapping_mul(5).wrapping_add(113);
            *octet = state;
        });
    };
    body(&mut Scene { unix_time: NOW, random: &mut random, peer: None })
}

fn message(tape: &mut Tape<'_>) -> Message {
    let kind = tape.pick(&KINDS);
    let (uri, content) = (tape.below(12), tape.below(300));
    let mut message = Message::new(
        kind,
        Bytes::copy_from_slice(tape.take(uri)),
        Bytes::copy_from_slice(tape.take(content)),
    );
    if tape.one_in(2) {
        message.fields.set("id", Value::Int(tape.word().into()));
    }
    if tape.one_in(4) {
        message.fields.set_octets("other", tape.take(5));
    }
    message
}

/// What a decoder says of octets in pieces: its messages, and the error that ends it.
fn decoded(tape: &mut Tape<'_>, octets: &[u8], in_pieces: bool) -> Vec<String> {
    let mut decoder = Decoder::new(Kinds::new().with(Kind::custom(99).expect("31 or more")));
    let (mut rest, mut said) = (octets, Vec::new());
    loop {
        let length = if in_pieces { 1 + tape.below(64) } else { rest.len() };
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        decoder.receive(piece);
        rest = behind;
        loop {
            match decoder.poll_message() {
                Ok(Some(message)) => {
                    said.push(format!("{message:?}"));
                    again(&message);
                }
                Ok(None) => break,
                Err(error) => {
                    said.push(error.to_string());
                    if !error.is_recoverable() {
                        assert_eq!(decoder.poll_message(), Err(error), "the end stays the end");
                        return said;
                    }
                }
            }
        }
        if rest.is_empty() {
            said.push(format!("inside: {}", decoder.is_inside()));
            return said;
        }
    }
}

/// What was read can be written, unless it is longer than what may be, and is then read as it was.
fn again(message: &Message) {
    let Ok(octets) = message.to_octets() else { return };
    let kinds = Kinds::new().with(message.kind);
    let read = Message::from_octets(octets.clone().into(), &kinds).expect("what is written can be read");
    assert_eq!((read.kind, &read.uri, &read.content), (message.kind, &message.uri, &message.content));
    assert_eq!(read.to_octets().as_ref(), Ok(&octets));
}

fn frames(tape: &mut Tape<'_>) {
    let mut octets = Vec::new();
    while !tape.is_empty() && octets.len() < 4096 {
        if tape.one_in(3) {
            let length = tape.below(40);
            octets.extend_from_slice(tape.take(length));
            continue;
        }
        let start = octets.len();
        message(tape).encode(&mut octets).expect("it is short");
        if tape.one_in(2) {
            let at = start + tape.below(octets.len() - start);
            octets[at] ^= tape.byte();
        }
    }
    let whole = decoded(tape, &octets, false);
    assert_eq!(decoded(tape, &octets, true), whole, "however it is cut");
}

fn values(octets: &[u8]) {
    let Ok(value) = Value::unpack(&Bytes::copy_from_slice(octets)) else { return };
    let packed = value.packed();
    let read = Value::unpack(&packed.clone().into()).expect("what is written can be read");
    assert_eq!(read.packed(), packed);
}

/// What was signed is genuine, and nothing else that comes of it by changing an octet; what was encrypted comes back.
fn plugins(tape: &mut Tape<'_>) {
    let (auth, cipher) = (HmacAuth::new("s"), StreamCipher::new("k").hide_uri(tape.one_in(2)));
    let sent = message(tape);
    let mut signed = sent.clone();
    on_scene(|scene| {
        cipher.encrypt(&mut signed, scene).expect("it is short");
        auth.sign(&mut signed, scene).expect("it can be signed");
    });
    auth.bind(&mut signed);
    let mut octets = signed.to_octets().expect("it is short");
    let at = tape.below(octets.len());
    octets[at] ^= tape.byte();
    let Ok(mut read) = Message::from_octets(octets.into(), &Kinds::new()) else { return };
    on_scene(|scene| {
        if auth.is_genuine(&read, scene) && auth.binding(&read) == (Binding::Bound { time: NOW }) {
            assert_eq!((read.kind, read.fields.get("id")), (sent.kind, sent.fields.get("id")));
            cipher.decrypt(&mut read, scene).expect("it is what was encrypted");
            assert_eq!((&read.uri, &read.content), (&sent.uri, &sent.content));
        }
        let _ = WitnessAuth::new(&[1; 32]).is_genuine(&read, scene);
        let _ = BoxCipher::new(&[1; 32]).decrypt(&mut read, scene);
        let _ = cipher.decrypt(&mut read, scene);
    });
}

/// Both ends of a session, and somebody on the way: what comes out went in, once, and on a stream in its order.
fn session(tape: &mut Tape<'_>) {
    let order = if tape.one_in(2) { Order::AsAsked } else { Order::Any };
    let (session, other) = (Session::new("s"), Session::new("t"));
    let (mut asks, mut answers) = on_scene(|scene| {
        let (offer, offering) = session.offer(scene);
        let (mut answers, mut accepting) = session.accept(&offering, order, scene).expect("it is an offer");
        let (_, mut strange) = other.accept(&offering, order, scene).expect("it is an offer");
        assert!(offer.accepted(&session, &mut strange, order, NOW).is_err(), "not sealed");
        answers.seal(&mut accepting, NOW).expect("it is short");
        let asks = offer.accepted(&session, &mut accepting, order, NOW).expect("the secrets are the same");
        (asks, answers)
    });
    let (mut on_the_way, mut sent, mut come) = (Vec::new(), Vec::new(), Vec::new());
    while !tape.is_empty() && sent.len() < 300 {
        match tape.below(4) {
            0 | 1 => {
                let plain = message(tape);
                let mut sealed = plain.clone();
                asks.seal(&mut sealed, NOW + tape.below(400) as u32).expect("it is short");
                on_the_way.push((sent.len(), sealed));
                sent.push(plain);
            }
            2 if !on_the_way.is_empty() => {
                let at = tape.below(on_the_way.len());
                let (number, mut sealed) = on_the_way[at].clone();
                if answers.open(&mut sealed, NOW + 100).is_ok() {
                    assert_eq!(sealed, sent[number]);
                    let is_in_turn = order == Order::Any || come.last().is_none_or(|last| *last < number);
                    assert!(!come.contains(&number) && is_in_turn, "{number} after {come:?}");
                    come.push(number);
                }
            }
            3 if !on_the_way.is_empty() => tamper(tape, &mut answers, &on_the_way),
            _ => {}
        }
    }
}

fn tamper(tape: &mut Tape<'_>, answers: &mut Channel, on_the_way: &[(usize, Message)]) {
    let (_, sealed) = &on_the_way[tape.below(on_the_way.len())];
    let mut octets = sealed.to_octets().expect("it is short");
    let same = Message::from_octets(octets.clone().into(), &Kinds::new()).expect("it is one");
    let at = tape.below(octets.len());
    octets[at] ^= tape.byte();
    let Ok(mut changed) = Message::from_octets(octets.into(), &Kinds::new()) else { return };
    if changed != same {
        assert!(answers.open(&mut changed, NOW + 100).is_err(), "{changed:?} for {sealed:?}");
    }
}

/// A request as the account has it.
struct Account {
    deadline: u64,
    is_given_up: bool,
    asked: Message,
}

/// Any commands in any order: a request ends once, none ends that has not begun, and none is forgotten.
fn requests(tape: &mut Tape<'_>) {
    let order = if tape.one_in(2) { Order::AsAsked } else { Order::Any };
    let mut requests = Requests::new(order);
    let (mut open, mut now): (BTreeMap<Ticket, Account>, u64) = (BTreeMap::new(), 0);
    while !tape.is_empty() {
        let uri = tape.pick(&["a", "b", ""]);
        match tape.below(6) {
            0 | 1 => {
                let (kind, deadline) = (tape.pick(&KINDS), now + tape.below(200) as u64);
                let Ok(begun) = requests.begin(kind, uri.into(), deadline) else { continue };
                let (Begun::Now(ticket) | Begun::Later(ticket)) = begun;
                let mut asked = Message::new(kind, uri, "");
                requests.number(ticket, &mut asked);
                let former = open.insert(ticket, Account { deadline, is_given_up: false, asked });
                assert!(former.is_none(), "no ticket is given twice");
            }
            2 => {
                let mut answer = Message::new(tape.pick(&KINDS), uri, "");
                let asked = open.values().nth(tape.below(open.len().max(1)));
                if let Some(account) = asked.filter(|_| tape.one_in(2)) {
                    repeat_number(&account.asked, &mut answer);
                }
                if let Some(Some(ticket)) = requests.answered(&answer) {
                    let account = open.remove(&ticket).expect("it has begun, and not ended");
                    assert!(!account.is_given_up, "nobody waits for it");
                }
            }
            3 => {
                let at = tape.below(open.len().max(1));
                if let Some((ticket, account)) = open.iter_mut().nth(at) {
                    requests.cancel(*ticket);
                    account.is_given_up = true;
                }
            }
            4 => {
                now += tape.below(100) as u64;
                while let Some(ticket) = requests.expire(now) {
                    let account = open.remove(&ticket).expect("it has begun, and not ended");
                    assert!(account.deadline <= now && !account.is_given_up);
                }
                assert!(requests.next_deadline().is_none_or(|deadline| deadline > now));
                open.retain(|_, account| account.deadline > now);
            }
            _ => while requests.next_to_send().is_some() {},
        }
    }
    while let Some(ticket) = requests.fail() {
        let account = open.remove(&ticket).expect("it has begun, and not ended");
        assert!(!account.is_given_up);
    }
    assert!(requests.is_empty() && open.values().all(|account| account.is_given_up));
}
