//! What protects one connection: the node's layer, or the session that is agreed on instead of it.
//!
//! Who connects offers a session, if it has one, and holds its requests back until the peer has said what it thinks of that.
//! Once there is one, everything is sealed in it, both ways, and what is not ends the connection. A peer that does not know
//! of sessions gets the layer, unless a session is required.
//!
//! Codes of a layer are bound to the type and the fields of their messages where both ends can: who asks binds until it
//! sees that the peer does not, who answers does once the peer has. From then on nothing else is taken.

use std::{
    cell::{Cell, RefCell},
    fmt,
    time::SystemTime,
};

use crate::{
    message::layer::{Layer, Refused},
    proto::message::{
        Channel, Message, Offer, Order, Replays, Session, Value,
        plugins::{Binding, NONCE_FIELD, PluginError, Scene},
    },
    worker::CancellationToken,
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
    state: RefCell<State>,
    /// Cancelled when requests need not be held back any more.
    agreed: CancellationToken,
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
            protection,
            side,
            order,
            binds: Cell::new(Binds::NotKnown),
            state: RefCell::new(State::Layered),
            agreed,
        }
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
        matches!(*self.state.borrow(), State::Sealed { .. })
    }

    /// Whether there is no session, and nothing is said without one.
    pub(super) fn is_barred(&self) -> bool {
        !self.is_sealed() && self.protection.session.as_ref().is_some_and(Session::is_required)
    }

    /// Whether each message needs a code of its own, so that none can be wrapped once for many.
    pub(super) fn is_particular(&self) -> bool {
        let layer = &self.protection.layer;
        layer.is_particular() || layer.is_strict || self.is_barred() || self.is_sealed() || self.binds()
    }

    /// The offer of a session, to be sent as a request.
    pub(super) fn offer(&self) -> Option<Message> {
        let session = self.protection.session.as_ref()?;
        let (offer, message) = on_scene(None, |scene| session.offer(scene));
        self.state.replace(State::Offered(offer));
        Some(message)
    }

    /// Takes an offer, unless sealed messages have come already: what is sent, when it repeats the offer's number, tells the
    /// peer so.
    pub(super) fn accept(&self, offer: &Message) -> Option<Message> {
        let session = self.protection.session.as_ref()?;
        let is_late = matches!(*self.state.borrow(), State::Sealed { heard: true, .. });
        // Datagrams have none: a peer that begins anew would be told from one that is copied by nothing.
        if self.side == Side::Asks || self.order == Order::Any || is_late || !Session::is_offer(offer) {
            return None;
        }
        let (channel, message) = on_scene(None, |scene| session.accept(offer, self.order, scene))?;
        self.state.replace(State::Sealed { channel, heard: false });
        Some(message)
    }

    /// Wraps a message that is sent: in the session, or in the node's layer.
    pub(super) fn wrap(&self, message: &mut Message, said: Said<'_>) -> Result<(), PluginError> {
        if let State::Sealed { channel, .. } = &mut *self.state.borrow_mut() {
            return channel.seal(message, now());
        }
        if self.is_barred() && !Session::is_offer(message) {
            return Err(PluginError::NoSession);
        }
        self.wrap_in(&self.protection.layer, message, said)
    }

    /// Wraps a message in a layer, inside the node's.
    pub(super) fn wrap_in(
        &self,
        layer: &Layer,
        message: &mut Message,
        said: Said<'_>,
    ) -> Result<(), PluginError> {
        if layer.is_empty() {
            return Ok(());
        }
        on_scene(said, |scene| layer.wrap(message, self.binds(), scene))
    }

    /// Unwraps a message that has come.
    pub(super) fn unwrap(&self, message: &mut Message, said: Said<'_>) -> Result<(), Refused> {
        let mut state = self.state.borrow_mut();
        match &mut *state {
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
        let outer = self.protection.layer.auth.as_ref();
        let is_new = !self.is_sealed() && outer.is_none_or(|auth| auth.binding(message) == Binding::Unknown);
        self.unwrap_layer(layer, message, is_new, said)
    }

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
            Binding::Absent if layer.is_strict || (self.binds.get() == Binds::Yes && !self.is_sealed()) => {
                refused("type and fields are not signed")
            }
            Binding::Absent => {
                if self.binds.get() == Binds::NotKnown && message.kind.ends_an_exchange() {
                    self.binds.set(Binds::No);
                }
                Ok(())
            }
            Binding::Bound { time } => {
                self.binds.set(Binds::Yes);
                let nonce = message.fields.octets(NONCE_FIELD).filter(|_| is_new);
                let admitted =
                    nonce.map_or(Ok(()), |nonce| self.protection.replays.admit(nonce, time, now()));
                admitted.map_err(|error| Refused::Auth(error.to_string()))
            }
        }
    }

    /// Whether what is sent is bound.
    fn binds(&self) -> bool {
        match self.binds.get() {
            Binds::NotKnown => self.side == Side::Asks || self.protection.layer.is_strict,
            Binds::No => self.protection.layer.is_strict,
            Binds::Yes => true,
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
