//! What protects one connection: the node's layer, or the session that is agreed on instead of it.
//!
//! Who connects offers a session, if it has one, and holds its requests back until the peer has said what it thinks of that.
//! Once there is one, everything is sealed in it, both ways, and what is not ends the connection. A peer that does not know
//! of sessions gets the layer, unless a session is required. Among datagrams it is the same for each address, but sessions
//! are forgotten and made anew: see `seals`.
//!
//! Codes of a layer are bound to the type and the fields of their messages where both ends can: who asks binds until it
//! sees that the peer does not, who answers does once the peer has. From then on nothing else is taken; by datagrams, until
//! nothing bound was heard from the address for long.

use std::{
    cell::{Cell, RefCell},
    fmt,
    time::SystemTime,
};

use crate::{
    clock::nanos,
    message::{
        layer::{Layer, Refused},
        seals::{SILENCE, Seals},
    },
    proto::message::{
        Channel, Message, Offer, Order, Replays, Session, Value,
        plugins::{Binding, NONCE_FIELD, PluginError, Scene, sent_at},
        repeat_number,
    },
    time,
    worker::{CancellationToken, timer::turn_time},
};

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that connects: it offers.
    Asks,
    /// The one that is connected to.
    Answers,
}

/// What a node protects its connections with.
#[derive(Clone, Debug, Default)]
pub(super) struct Protection {
    pub(super) layer: Layer,
    pub(super) session: Option<Session>,
    pub(super) replays: Replays,
}

pub(super) struct Guard {
    protection: Protection,
    side: Side,
    order: Order,
    binds: Cell<Binds>,
    /// Something was said in a layer that takes nothing unbound: whoever takes that takes nothing else from then on.
    is_strict: Cell<bool>,
    /// When the peer was last seen to bind, by datagrams, in the time of the worker.
    bound_at: Cell<u64>,
    state: RefCell<State>,
    /// Cancelled when requests need not be held back any more.
    agreed: CancellationToken,
}

/// What comes of an offer.
pub(super) enum Accepted {
    /// It is no offer, or there is nothing to take it.
    None,
    /// It is one that has come before.
    Ignored,
    /// It is not what it should be.
    Refused(PluginError),
    /// It is taken; this tells the peer so.
    Now(Message),
}

/// What a peer has said of itself; plugins find its keys in it.
type Said<'v> = Option<&'v Value>;

/// Whether the peer binds its codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binds {
    NotKnown,
    No,
    Yes,
}

enum State {
    /// Among datagrams.
    Air(Box<Seals>),
    /// In the node's layer.
    Layered,
    Offered(Offer),
    Sealed {
        channel: Channel,
        heard: bool,
    },
}

impl Guard {
    pub(super) fn new(protection: Protection, side: Side, order: Order) -> Guard {
        let agreed = CancellationToken::new();
        if side == Side::Answers || protection.session.is_none() {
            agreed.cancel();
        }
        Guard {
            side,
            order,
            binds: Cell::new(Binds::NotKnown),
            is_strict: Cell::new(protection.layer.is_strict),
            bound_at: Cell::new(0),
            protection,
            state: RefCell::new(match order {
                Order::AsAsked => State::Layered,
                Order::Any => State::Air(Box::default()),
            }),
            agreed,
        }
    }

    /// Whether this is the end that connects.
    pub(super) fn asks(&self) -> bool {
        self.side == Side::Asks
    }

    /// Waits until it is known how to speak to the peer.
    pub(super) async fn agreed(&self) {
        self.agreed.cancelled().await;
    }

    /// Holds requests back no longer.
    pub(super) fn settle(&self) {
        self.agreed.cancel();
    }

    /// Whether a session is still to be offered.
    pub(super) fn is_to_offer(&self) -> bool {
        !self.agreed.is_cancelled()
    }

    pub(super) fn is_sealed(&self) -> bool {
        match &*self.state.borrow() {
            State::Sealed { .. } => true,
            State::Air(seals) => seals.is_sealed(),
            State::Layered | State::Offered(_) => false,
        }
    }

    /// Whether a session is to be offered to who is asked by datagrams.
    pub(super) fn wants_session(&self) -> bool {
        match (&*self.state.borrow(), &self.protection.session) {
            (State::Air(seals), Some(session)) => seals.wants(session.is_required(), time::now()),
            (State::Air(_) | State::Layered | State::Offered(_) | State::Sealed { .. }, _) => false,
        }
    }

    /// Who was asked by datagrams has taken no offer.
    pub(super) fn decline(&self) {
        self.on_air(|seals| seals.decline(time::now()));
    }

    /// Who was told something by datagrams says that it cannot read that.
    pub(super) fn note_stale(&self) {
        self.on_air(Seals::note_stale);
    }

    fn on_air(&self, body: impl FnOnce(&mut Seals)) {
        if let State::Air(seals) = &mut *self.state.borrow_mut() {
            body(seals);
        }
    }

    /// Whether there is no session, and nothing is said without one.
    #[inline]
    pub(super) fn is_barred(&self) -> bool {
        self.protection.session.as_ref().is_some_and(Session::is_required) && !self.is_sealed()
    }

    /// Whether each message needs a code of its own, so that none can be wrapped once for many.
    pub(super) fn is_particular(&self) -> bool {
        let layer = &self.protection.layer;
        layer.is_particular() || self.is_barred() || self.is_sealed() || self.binds()
    }

    /// The offer of a session, to be sent as a request.
    pub(super) fn offer(&self) -> Option<Message> {
        let session = self.protection.session.as_ref()?;
        let mut state = self.state.borrow_mut();
        if let State::Air(seals) = &mut *state {
            let (offer, message) =
                on_scene(None, |scene| session.offer_once(&self.protection.replays, scene));
            seals.offered(offer);
            return Some(message);
        }
        let (offer, message) = on_scene(None, |scene| session.offer(scene));
        *state = State::Offered(offer);
        Some(message)
    }

    /// Takes an offer, unless sealed messages have come already on a connection; what is returned is sealed already.
    #[inline]
    pub(super) fn accept(&self, offer: &Message) -> Accepted {
        let Some(session) = self.protection.session.as_ref().filter(|_| Session::is_offer(offer)) else {
            return Accepted::None;
        };
        match &mut *self.state.borrow_mut() {
            State::Air(seals) => {
                match session.admit(offer, &self.protection.replays, now()) {
                    Ok(()) => {}
                    // One that was sent twice, or that somebody has kept.
                    Err(PluginError::Replayed) => return Accepted::Ignored,
                    Err(error) => return Accepted::Refused(error),
                }
                let finish = |message: &mut Message| repeat_number(offer, message);
                let answer = on_scene(None, |scene| seals.accept(session, offer, scene, finish));
                answer.map_or(Accepted::Refused(PluginError::Garbled), Accepted::Now)
            }
            State::Sealed { heard: true, .. } => Accepted::None,
            state if self.side == Side::Answers => {
                let accepted = on_scene(None, |scene| session.accept(offer, self.order, scene));
                let Some((mut channel, mut message)) = accepted else { return Accepted::None };
                repeat_number(offer, &mut message);
                if channel.seal(&mut message, now()).is_err() {
                    return Accepted::None;
                }
                *state = State::Sealed { channel, heard: false };
                Accepted::Now(message)
            }
            State::Layered | State::Offered(_) | State::Sealed { .. } => Accepted::None,
        }
    }

    /// Wraps a message that is sent: in the session, or in the node's layer.
    #[inline]
    pub(super) fn wrap(&self, message: &mut Message, said: Said<'_>) -> Result<(), PluginError> {
        if self.protection.session.is_none() {
            return self.wrap_in(&self.protection.layer, message, said);
        }
        match &mut *self.state.borrow_mut() {
            State::Sealed { channel, .. } => return channel.seal(message, now()),
            // An offer is made anew when the peer has forgotten the session.
            State::Air(seals) if !Session::is_offer(message) => {
                if let Some(channel) = seals.speaking() {
                    return channel.seal(message, now());
                }
            }
            State::Air(_) | State::Layered | State::Offered(_) => {}
        }
        if self.is_barred() && !Session::is_offer(message) {
            return Err(PluginError::NoSession);
        }
        self.wrap_in(&self.protection.layer, message, said)
    }

    /// Wraps a message in a layer, inside the node's.
    #[inline]
    pub(super) fn wrap_in(
        &self,
        layer: &Layer,
        message: &mut Message,
        said: Said<'_>,
    ) -> Result<(), PluginError> {
        if layer.is_empty() {
            return Ok(());
        }
        if layer.is_strict {
            self.is_strict.set(true);
        }
        on_scene(said, |scene| layer.wrap(message, self.binds(), scene))
    }

    /// Unwraps a message that has come.
    #[inline]
    pub(super) fn unwrap(&self, message: &mut Message, said: Said<'_>) -> Result<(), Refused> {
        let mut state = self.state.borrow_mut();
        match &mut *state {
            State::Air(seals) => {
                let session = self.protection.session.as_ref();
                if seals.open(session, message, (time::now(), now())).map_err(Refused::Seal)? {
                    return Ok(());
                }
            }
            // What was on its way before it was agreed.
            State::Sealed { heard: false, .. } if !Channel::is_sealed(message) => {
                return Err(Refused::Auth(PluginError::NoSession.to_string()));
            }
            State::Sealed { channel, heard } => {
                channel.open(message, now()).map_err(Refused::Seal)?;
                *heard = true;
                return Ok(());
            }
            State::Offered(offer) if Offer::is_accepted_by(message) => {
                let session =
                    self.protection.session.as_ref().ok_or(Refused::Seal(PluginError::NoSession))?;
                let channel = offer.accepted(session, message, self.order, now()).map_err(Refused::Seal)?;
                *state = State::Sealed { channel, heard: true };
                return Ok(());
            }
            State::Layered | State::Offered(_) => {}
        }
        drop(state);
        if Channel::is_sealed(message) {
            return Err(Refused::Seal(PluginError::NoSession));
        }
        if self.is_barred() && !message.kind.ends_an_exchange() {
            return Err(Refused::Auth(PluginError::NoSession.to_string()));
        }
        self.unwrap_layer(&self.protection.layer, message, true, said)
    }

    /// Unwraps a message that came through [`unwrap`](Guard::unwrap) from an inner layer.
    #[inline]
    pub(super) fn unwrap_in(
        &self,
        layer: &Layer,
        message: &mut Message,
        said: Said<'_>,
    ) -> Result<(), Refused> {
        if layer.is_empty() {
            return Ok(());
        }
        // Layers share one nonce, which is taken down once.
        let is_taken = matches!(self.protection.layer.binding(message), Binding::Bound { .. });
        let is_new = !self.is_sealed() && !is_taken;
        self.unwrap_layer(layer, message, is_new, said)
    }

    #[inline]
    fn unwrap_layer(
        &self,
        layer: &Layer,
        message: &mut Message,
        is_new: bool,
        said: Said<'_>,
    ) -> Result<(), Refused> {
        if layer.is_empty() {
            return Ok(());
        }
        on_scene(said, |scene| {
            let binding = layer.judge(message, scene)?;
            self.judge(layer, binding, message, is_new)?;
            Ok(layer.open(message, scene)?)
        })
    }

    fn judge(&self, layer: &Layer, binding: Binding, message: &Message, is_new: bool) -> Result<(), Refused> {
        let refused = |text: &str| Err(Refused::Auth(text.to_owned()));
        match binding {
            Binding::Unknown => Ok(()),
            Binding::Forged => refused("type or fields are not those that were signed"),
            Binding::Absent if layer.is_strict || (self.peer_binds() == Binds::Yes && !self.is_sealed()) => {
                refused("type and fields are not signed")
            }
            // A message that was bound, and has come before with its binding.
            Binding::Absent if is_new && self.has_admitted(message) => {
                refused(&PluginError::Replayed.to_string())
            }
            Binding::Absent => {
                if self.binds.get() == Binds::NotKnown && message.kind.ends_an_exchange() {
                    self.binds.set(Binds::No);
                }
                Ok(())
            }
            Binding::Bound { time } => {
                let nonce = message.fields.octets(NONCE_FIELD).filter(|_| is_new);
                let admitted =
                    nonce.map_or(Ok(()), |nonce| self.protection.replays.admit(nonce, time, now()));
                admitted.map_err(|error| Refused::Auth(error.to_string()))?;
                self.note_bound();
                Ok(())
            }
        }
    }

    /// Whether a message with the same nonce has come bound. Those of peers that do not bind are not taken down: the Python
    /// package sends one to many as it is, and one node may be several of them.
    fn has_admitted(&self, message: &Message) -> bool {
        let (nonce, time) = (message.fields.octets(NONCE_FIELD), sent_at(&message.fields));
        nonce.zip(time).is_some_and(|(nonce, time)| self.protection.replays.has_admitted(nonce, time))
    }

    /// Whether what is sent is bound, also in a layer that may be without.
    fn binds(&self) -> bool {
        self.is_strict.get()
            || match self.peer_binds() {
                Binds::NotKnown => self.side == Side::Asks,
                Binds::No => false,
                Binds::Yes => true,
            }
    }

    /// Whether the peer is known to bind its codes. Among datagrams that is its address, at which there may be another one.
    fn peer_binds(&self) -> Binds {
        let binds = self.binds.get();
        if binds != Binds::Yes || self.order == Order::AsAsked {
            return binds;
        }
        if turn_time().saturating_sub(self.bound_at.get()) >= nanos(SILENCE) {
            self.binds.set(Binds::NotKnown);
        }
        self.binds.get()
    }

    fn note_bound(&self) {
        self.binds.set(Binds::Yes);
        if self.order == Order::Any {
            self.bound_at.set(turn_time());
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("Guard");
        debug.field("side", &self.side).field("sealed", &self.is_sealed()).finish_non_exhaustive()
    }
}

/// Wraps a message for many, none of whom needs a code of its own; who asks binds its code.
pub(super) fn wrap_for_all(layer: &Layer, side: Side, message: &mut Message) -> Result<(), PluginError> {
    let nobody = Protection { layer: layer.clone(), ..Protection::default() };
    Guard::new(nobody, side, Order::Any).wrap(message, None)
}

fn on_scene<R>(peer: Said<'_>, body: impl FnOnce(&mut Scene<'_>) -> R) -> R {
    let mut random = |octets: &mut [u8]| {
        getrandom::fill(octets).expect("a system that runs has random numbers");
    };
    body(&mut Scene { unix_time: now(), random: &mut random, peer })
}

/// Seconds since 1970.
fn now() -> u32 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since_1970.as_secs()).unwrap_or(u32::MAX)
}
