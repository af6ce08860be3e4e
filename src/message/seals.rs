//! The sessions with one address.
//!
//! A connection has one session, from its beginning to its end. Among datagrams there may be several at a time: either end
//! may offer one, both may at once, and one that has forgotten all begins anew. Whoever is spoken to in any of them
//! understands; what is sent goes by the one that was confirmed last. The end that offers has it confirmed by the
//! acceptance; the other one by the first message in it, since an acceptance may be lost.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    limits::{MESSAGE_DECLINED, MESSAGE_IDLE_TIMEOUT, MESSAGE_SEALS},
    proto::message::{
        Channel, Message, Offer, Order, Session,
        plugins::{PluginError, Scene},
    },
};

type Name = [u8; 4];

/// For how long an address is held to what it has shown, a session or bound codes, when nothing of that is heard any more.
pub(super) const SILENCE: Duration = MESSAGE_IDLE_TIMEOUT;

#[derive(Default)]
pub(super) struct Seals {
    offer: Option<Offer>,
    /// The newest first.
    channels: VecDeque<Channel>,
    /// By which messages are sent.
    speaks: Option<Name>,
    /// When something was heard in a session.
    heard: Option<Instant>,
    /// The peer seems to know of none of them.
    is_stale: bool,
    /// Until when none is offered, because the peer did not take the last offer.
    declined: Option<Instant>,
}

impl Seals {
    /// Whether something is sealed in a session.
    pub(super) fn is_sealed(&self) -> bool {
        self.speaks.is_some()
    }

    /// Whether a session is to be offered before anything is asked.
    pub(super) fn wants(&self, is_required: bool, now: Instant) -> bool {
        let is_declined = !is_required && self.declined.is_some_and(|until| now < until);
        (self.is_stale || !self.is_sealed()) && !is_declined
    }

    /// By what messages are sealed.
    pub(super) fn speaking(&mut self) -> Option<&mut Channel> {
        let name = self.speaks?;
        self.channels.iter_mut().find(|channel| channel.name() == name)
    }

    pub(super) fn offered(&mut self, offer: Offer) {
        self.offer = Some(offer);
    }

    /// The peer has taken no offer.
    pub(super) fn decline(&mut self, now: Instant) {
        (self.offer, self.is_stale, self.declined) = (None, false, now.checked_add(MESSAGE_DECLINED));
    }

    /// The peer has said that it cannot read what it is sent.
    pub(super) fn note_stale(&mut self) {
        self.is_stale = true;
    }

    /// Takes an offer that is fresh: the answer to it, which `finish` adds the last fields to.
    pub(super) fn accept(
        &mut self,
        session: &Session,
        offer: &Message,
        scene: &mut Scene<'_>,
        finish: impl FnOnce(&mut Message),
    ) -> Option<Message> {
        let now = scene.unix_time;
        let (mut channel, mut message) = session.accept(offer, Order::Any, scene)?;
        finish(&mut message);
        channel.seal(&mut message, now).ok()?;
        self.enter(channel);
        Some(message)
    }

    /// Breaks the seal of a message that has come; false when it has none, and may have none.
    pub(super) fn open(
        &mut self,
        session: Option<&Session>,
        message: &mut Message,
        (at, now): (Instant, u32),
    ) -> Result<bool, PluginError> {
        let Some(name) = Channel::named(message) else {
            let is_silent = |heard: Instant| at.saturating_duration_since(heard) >= SILENCE;
            if self.is_sealed() && !self.heard.is_some_and(is_silent) {
                return Err(PluginError::NoSession);
            }
            if self.is_sealed() {
                // Somebody else is at that address by now, or the same one in another life.
                *self = Seals { offer: self.offer.take(), declined: self.declined, ..Seals::default() };
            }
            return Ok(false);
        };
        match self.channels.iter_mut().find(|channel| channel.name() == name) {
            Some(channel) => channel.open(message, now)?,
            None => self.take_acceptance(session, message, now)?,
        }
        self.heard = Some(at);
        // The one that was confirmed last; the others are for what is still on its way.
        let is_newest = self.channels.front().is_some_and(|newest| newest.name() == name);
        if is_newest || !self.is_sealed() {
            self.speaks = Some(name);
        }
        Ok(true)
    }

    fn take_acceptance(
        &mut self,
        session: Option<&Session>,
        message: &mut Message,
        now: u32,
    ) -> Result<(), PluginError> {
        let (Some(offer), Some(session)) = (&self.offer, session) else { return Err(PluginError::NoSession) };
        if !Offer::is_accepted_by(message) {
            return Err(PluginError::NoSession);
        }
        let channel = offer.accepted(session, message, Order::Any, now)?;
        self.enter(channel);
        (self.offer, self.is_stale, self.declined) = (None, false, None);
        Ok(())
    }

    /// Adds a session, in the place of the oldest when there are too many; the one that is spoken by stays.
    fn enter(&mut self, channel: Channel) {
        self.channels.push_front(channel);
        if self.channels.len() > MESSAGE_SEALS {
            let kept = self.speaks;
            let oldest = self.channels.iter().rposition(|channel| Some(channel.name()) != kept);
            oldest.and_then(|at| self.channels.remove(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::message::{Kind, Replays};

    const NOW: u32 = 1000;

    fn on_scene<R>(body: impl FnOnce(&mut Scene<'_>) -> R) -> R {
        let mut random = |octets: &mut [u8]| getrandom::fill(octets).unwrap();
        body(&mut Scene { unix_time: NOW, random: &mut random, peer: None })
    }

    /// One end offers, and the other accepts; the acceptance comes.
    fn agree(session: &Session, asks: &mut Seals, answers: &mut Seals) {
        let (offer, message) = on_scene(|scene| session.offer_once(&Replays::new(), scene));
        asks.offered(offer);
        let mut accepted = on_scene(|scene| answers.accept(session, &message, scene, |_| {})).unwrap();
        assert_eq!(asks.open(Some(session), &mut accepted, (Instant::now(), NOW)), Ok(true));
    }

    fn say(from: &mut Seals, to: &mut Seals, at: Instant) -> Result<bool, PluginError> {
        let mut message = Message::new(Kind::REQUEST_URI, "a", "it");
        from.speaking().unwrap().seal(&mut message, NOW).unwrap();
        to.open(None, &mut message, (at, NOW))
    }

    #[test]
    fn an_address_is_held_to_its_session_until_nothing_was_heard_in_it_for_long() {
        let (session, began) = (Session::new("s"), Instant::now());
        let (mut asks, mut answers) = (Seals::default(), Seals::default());
        agree(&session, &mut asks, &mut answers);
        assert!(asks.is_sealed() && !answers.is_sealed(), "the acceptance may have been lost");
        let mut plain = Message::new(Kind::REQUEST_URI, "a", "");
        assert_eq!(answers.open(None, &mut plain, (began, NOW)), Ok(false));
        assert_eq!(say(&mut asks, &mut answers, began), Ok(true));
        assert!(answers.is_sealed());
        let late = began + SILENCE;
        assert_eq!(
            answers.open(None, &mut plain, (late - Duration::from_secs(1), NOW)),
            Err(PluginError::NoSession)
        );
        assert_eq!(answers.open(None, &mut plain, (late, NOW)), Ok(false));
        assert_eq!(say(&mut asks, &mut answers, late), Err(PluginError::NoSession), "it is forgotten");
    }

    #[test]
    fn of_many_sessions_the_last_ones_are_known_and_the_one_that_is_spoken_by() {
        let (session, at) = (Session::new("s"), Instant::now());
        let (mut first, mut answers) = (Seals::default(), Seals::default());
        agree(&session, &mut first, &mut answers);
        assert_eq!(say(&mut first, &mut answers, at), Ok(true));
        let mut others: Vec<Seals> = (0..10).map(|_| Seals::default()).collect();
        for other in &mut others {
            agree(&session, other, &mut answers);
        }
        assert_eq!(answers.channels.len(), MESSAGE_SEALS);
        assert_eq!(say(&mut first, &mut answers, at), Ok(true));
        assert_eq!(say(&mut answers, &mut first, at), Ok(true), "the others were confirmed by nothing");
        assert_eq!(say(&mut others[9], &mut answers, at), Ok(true));
        assert_eq!(say(&mut answers, &mut others[9], at), Ok(true));
        assert_eq!(say(&mut others[0], &mut answers, at), Err(PluginError::NoSession));
    }

    #[test]
    fn a_session_is_wanted_until_there_is_one_or_it_was_declined_and_again_when_it_is_forgotten_there() {
        let (session, at) = (Session::new("s"), Instant::now());
        let (mut asks, mut answers) = (Seals::default(), Seals::default());
        assert!(asks.wants(false, at));
        asks.decline(at);
        assert!(!asks.wants(false, at) && asks.wants(true, at) && asks.wants(false, at + MESSAGE_DECLINED));
        agree(&session, &mut asks, &mut answers);
        assert!(!asks.wants(true, at) && !asks.wants(false, at));
        asks.note_stale();
        assert!(asks.wants(false, at) && asks.is_sealed());
        agree(&session, &mut asks, &mut answers);
        assert!(!asks.wants(true, at));
    }
}
