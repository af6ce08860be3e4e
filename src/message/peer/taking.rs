//! What comes from a peer: an answer, the offer of a session, something for a handler, or what is refused and complained of.

use std::rc::Rc;

use bytes::Bytes;

use super::{End, INVALID, Peer};
use crate::{
    limits::MESSAGE_REPEATED_URI,
    message::{
        error::RequestError, guard::Accepted, layer::Refused, metrics::count, queue::Purpose, routes::Route,
    },
    proto::message::{
        Channel, Kind, Message, OFFER_URI, Offer, is_answer, is_numbered, plugins::PluginError, repeat_number,
    },
};

/// What there is to do about something that has come.
pub(in crate::message) enum Taken {
    /// Nothing any more.
    None,
    /// It stands where it stood, and is for this handler.
    For(Rc<Route>),
    /// What the peer is to be told of it stands there instead, and waits for its turn behind messages that came before.
    Refused,
    /// The connection is to end: it is not in the session, or is not what it should be there.
    Broken(Box<PluginError>),
}

impl Peer {
    /// Gives a message to the request that it answers; else says which handler it is for, if any is, and leaves it there. When the node `serves`
    /// no more, only answers are taken.
    pub(in crate::message) fn take(&self, taken: &mut Option<Message>, serves: bool) -> Taken {
        let Some(message) = taken else { return Taken::None };
        count(&self.node().counts.received, 1);
        let said = self.said();
        if self.is_offer(message) {
            return Taken::None;
        }
        if matches!(self.end, End::Far(_)) && Offer::is_accepted_by(message) && !self.asks().awaits(message) {
            // Whether it is right is costly to know.
            count(&self.node().counts.refused, 1);
            return Taken::None;
        }
        if let Err(refused) = self.guard().unwrap(message, said.as_deref()) {
            return self.refuse(taken, &refused);
        }
        // Without the session that there has to be, nothing but the refusal of one is heard.
        if self.guard().is_barred() && !self.asks().is_answer_about(OFFER_URI.as_bytes(), message) {
            count(&self.node().counts.refused, 1);
            return Taken::None;
        }
        if let End::Far(far) = &self.end {
            far.hear();
            if far.defers(message, || Ok(message.clone())) {
                return Taken::None;
            }
        }
        if let Some(answered) = self.asks().answered(message) {
            if let Some(ticket) = answered {
                self.asks().give(ticket, taken);
            }
            self.send_waiting();
            return Taken::None;
        }
        if !serves {
            return Taken::None;
        }
        if !self.node().peers.is_empty() {
            self.node().peers.heard(self.addr());
        }
        if self.node().peers.own.is_some() {
            if let Some(answer) = self.node().peers.take(message, self.addr()) {
                let gone = self.node().peers.take_gone();
                if let End::Far(far) = &self.end {
                    gone.iter().for_each(|address| far.air.unsubscribe_all(*address));
                }
                self.introduce(message, answer);
                return Taken::None;
            }
        }
        let Some(route) = self.node().routes.find(message, self.addr()) else {
            if self.node().answers_unknown && may_be_answered(message) {
                return self.complain_in_turn(taken, Kind::NOT_FOUND, "not found");
            }
            return Taken::None;
        };
        if let Err(refused) = self.guard().unwrap_in(&route.layer, message, said.as_deref()) {
            return self.refuse(taken, &refused);
        }
        // What there is no room for is no message that a handler for one has had.
        if matches!(&self.end, End::Far(far) if !far.air.has_room(far)) {
            return Taken::None;
        }
        self.node().routes.spend(&route);
        Taken::For(route)
    }

    /// What is left of a message whose octets were damaged: nobody knows its number.
    pub(in crate::message) fn take_invalid(&self, taken: &mut Option<Message>) -> Taken {
        *taken = None;
        self.complain_in_turn(taken, Kind::ERROR, INVALID)
    }

    /// Whether a message offers a session; it is answered then.
    fn is_offer(&self, message: &Message) -> bool {
        match self.guard().accept(message) {
            Accepted::None => return false,
            Accepted::Ignored => {}
            Accepted::Refused(error) => {
                count(&self.node().counts.refused, 1);
                self.complain_in_plain(message, &error.to_string());
            }
            // A session with an address that there is no room for is forgotten at once.
            Accepted::Now(answer) if self.is_kept() => _ = self.send_plain(&answer, Purpose::Answer),
            Accepted::Now(_) => {}
        }
        true
    }

    /// Whether what is known of it is kept.
    fn is_kept(&self) -> bool {
        match &self.end {
            End::Link(_) => true,
            End::Far(far) => far.air.keep(far),
        }
    }

    /// Answers an introduction.
    fn introduce(&self, message: &Message, answer: Option<Message>) {
        let Some(mut answer) = answer else { return };
        // Somebody else's address may have been given.
        if matches!(&self.end, End::Far(far) if !far.air.may_complain(far.address)) {
            return;
        }
        repeat_number(message, &mut answer);
        let _ = self.send_outer(&mut answer, Purpose::Answer);
    }

    /// A message that did not come through a layer. Who asked is told, in plain; answers end what they answer.
    fn refuse(&self, taken: &mut Option<Message>, refused: &Refused) -> Taken {
        count(&self.node().counts.refused, 1);
        let Some(message) = taken else { return Taken::None };
        if let Refused::Seal(error) = refused {
            match &self.end {
                End::Link(_) => return Taken::Broken(Box::new(*error)),
                End::Far(_) => self.refuse_datagram(message, *error),
            }
            return Taken::None;
        }
        if !may_be_answered(message) {
            let error = || RequestError::NotGenuine(distrust(message, refused));
            if matches!(&self.end, End::Far(far) if far.defers(message, || Err(error()))) {
                return Taken::None;
            }
            if let Some(answered) = self.asks().refused(message) {
                self.settle(answered, error());
            }
            return Taken::None;
        }
        match refused {
            Refused::Auth(text) => self.complain_in_turn(taken, Kind::AUTH_ERROR, text),
            Refused::Cipher(_) | Refused::Seal(_) => {
                self.complain_in_turn(taken, Kind::ERROR, "decryption failed")
            }
        }
    }

    /// A datagram that is in no session that is known here, though there is one, or is said to be one.
    fn refuse_datagram(&self, message: &Message, error: PluginError) {
        let is_plain = !Channel::is_sealed(message);
        if is_plain && message.kind == Kind::AUTH_ERROR && is_answer(message) {
            // The peer has forgotten the session, it says. Only who was asked knows the number.
            if let Some(answered) = self.asks().refused(message) {
                self.guard().note_stale();
                self.settle(answered, RequestError::NotGenuine(lossy(&message.content)));
            }
            return;
        }
        // Others come a second time, or somebody has changed them on their way, and may have done so to copies.
        let is_news = matches!(error, PluginError::NoSession | PluginError::Late(_));
        if is_news && may_be_answered(message) {
            self.complain_in_plain(message, &error.to_string());
        }
    }

    /// Tells who sent a datagram, and may not be able to read anything else, why it was refused.
    fn complain_in_plain(&self, about: &Message, text: &str) {
        if let Some(complaint) = self.complaint(Some(about), Kind::AUTH_ERROR, text) {
            let _ = self.send_plain(&complaint, Purpose::Answer);
        }
    }

    /// Tells the peer what is wrong with a message. Without a number of it nothing but its turn says which one that is.
    #[cold]
    fn complain_in_turn(&self, taken: &mut Option<Message>, kind: Kind, text: &str) -> Taken {
        let has_turn = taken.as_ref().is_none_or(|message| !is_numbered(message));
        match &self.end {
            End::Link(link) if has_turn && link.handlers.is_any_in_order() => {
                *taken = self.complaint(taken.as_ref(), kind, text);
                Taken::Refused
            }
            End::Link(_) | End::Far(_) => {
                self.complain(taken.as_ref(), kind, text);
                Taken::None
            }
        }
    }

    /// Tells the peer what is wrong. Only what is not found is told in the node's layer: who is told anything else is
    /// not known to be able to read that.
    pub(in crate::message) fn complain(&self, about: Option<&Message>, kind: Kind, text: &str) {
        if let Some(mut complaint) = self.complaint(about, kind, text) {
            self.tell(&mut complaint);
        }
    }

    /// Sends what the peer is told is wrong.
    pub(in crate::message) fn tell(&self, complaint: &mut Message) {
        // Who has gone learns nothing.
        let _ = if complaint.kind == Kind::NOT_FOUND || self.guard().is_sealed() {
            self.send_outer(complaint, Purpose::Answer)
        } else {
            self.send_plain(complaint, Purpose::Answer)
        };
    }

    /// What the peer is told, unless it was told too much of late.
    fn complaint(&self, about: Option<&Message>, kind: Kind, text: &str) -> Option<Message> {
        if matches!(&self.end, End::Far(far) if !far.air.may_complain(far.address)) {
            return None;
        }
        let found_out = kind == Kind::NOT_FOUND;
        // One that leaves no room for anything else is not repeated.
        let about_uri = about.filter(|about| found_out && about.uri.len() <= MESSAGE_REPEATED_URI);
        let uri = about_uri.map_or(Bytes::from_static(b"ERROR"), |about| about.uri.clone());
        let mut complaint = Message::new(kind, uri, text.to_owned());
        if let Some(about) = about {
            repeat_number(about, &mut complaint);
        }
        Some(complaint)
    }
}

/// Whether a message may be answered without its handler wanting it: who answers answers never stops.
fn may_be_answered(message: &Message) -> bool {
    !message.kind.ends_an_exchange() && !is_answer(message)
}

/// Why an answer is not taken for one.
fn distrust(answer: &Message, refused: &Refused) -> String {
    // Who does not know us says so in plain. What else he says would pass for the peer's word, or is encrypted.
    let is_plain = matches!(answer.kind, Kind::AUTH_ERROR | Kind::ERROR);
    match (std::str::from_utf8(&answer.content), refused) {
        (Ok(words), _) if is_plain => words.to_owned(),
        (_, Refused::Auth(text)) => format!("the answer did not pass authentication: {text}"),
        (_, Refused::Cipher(_) | Refused::Seal(_)) => refused.to_string(),
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
