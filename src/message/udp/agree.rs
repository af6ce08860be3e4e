//! Agreeing on a session with who is at an address.
//!
//! It is done when something is asked and there is none, once for all who ask meanwhile. Datagrams are lost: an offer is made
//! again until there is an answer, anew each time, since one passes once.
//!
//! Who has seen no offer can refuse one all the same, in the name of who was asked: what such a refusal has to say is known
//! to everybody, but for the offer's number. So one that does not repeat that counts only when the offer's time is over and
//! it was not accepted. Peers that know of no sessions, and of no numbers, refuse like that.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use super::far::Far;
use crate::{
    limits::{MESSAGE_OFFER_TIMEOUT, MESSAGE_OFFER_TRIES},
    message::{
        error::{RequestError, SendError},
        layer::Layer,
        peer::Peer,
    },
    proto::message::{Kind, Message, OFFER_URI, Offer, plugins::PluginError},
    worker::CancellationToken,
};

/// The agreement that is under way.
#[derive(Default)]
pub(super) struct Agreeing(RefCell<Weak<Agreement>>);

#[derive(Default)]
struct Agreement {
    /// Cancelled when it has come to an end, in whatever way.
    over: CancellationToken,
    error: RefCell<Option<RequestError>>,
    /// What will have been the answer to the offer if no other comes.
    refusal: RefCell<Option<Result<Message, RequestError>>>,
}

impl Far {
    /// Makes a session with it, if the node has them and there is none.
    pub(in crate::message) async fn agree(self: &Rc<Self>) -> Result<(), RequestError> {
        while self.guard.wants_session() {
            let others = self.agreeing.0.borrow().upgrade();
            let Some(others) = others.filter(|others| !others.over.is_cancelled()) else {
                return self.lead().await;
            };
            others.over.cancelled().await;
            let error = others.error.borrow().clone();
            error.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    async fn lead(self: &Rc<Self>) -> Result<(), RequestError> {
        let agreement = Rc::new(Agreement::default());
        self.agreeing.0.replace(Rc::downgrade(&agreement));
        let _over = agreement.over.clone().drop_guard();
        let offered = self.offer(&agreement).await;
        agreement.error.replace(offered.clone().err());
        offered
    }

    async fn offer(self: &Rc<Self>, agreement: &Agreement) -> Result<(), RequestError> {
        let (peer, layer, patience) =
            (Peer::far(self.clone()), Layer::new(), MESSAGE_OFFER_TIMEOUT / MESSAGE_OFFER_TRIES);
        for _ in 0..MESSAGE_OFFER_TRIES {
            let Some(mut offer) = self.guard.offer() else { return Ok(()) };
            let mut answered = peer.outwait(peer.begin(&mut offer, &layer, patience)).await;
            if answered.as_ref().is_err_and(RequestError::is_timeout) {
                answered = agreement.refusal.take().unwrap_or(answered);
            }
            peer.finish(&layer, &mut answered);
            match answered {
                Ok(answer) if Offer::is_accepted_by(&answer) => return Ok(()),
                // It has them, and not with us; or it does not even read us.
                Ok(answer) if answer.kind == Kind::AUTH_ERROR => {
                    let text = String::from_utf8_lossy(&answer.content).into_owned();
                    return Err(RequestError::NotGenuine(text));
                }
                Ok(_other) => return self.do_without(SendError::Plugin(PluginError::NoSession).into()),
                Err(error) if error.is_timeout() => {}
                Err(error) => return Err(error),
            }
        }
        self.do_without(RequestError::TimedOut)
    }

    /// Keeps what a message says of the offer that is under way until that one's time is over; false when it says nothing of
    /// one, or repeats its number.
    pub(in crate::message) fn defers(
        &self,
        message: &Message,
        refusal: impl FnOnce() -> Result<Message, RequestError>,
    ) -> bool {
        let agreement = self.agreeing.0.borrow().upgrade();
        let Some(agreement) = agreement.filter(|agreement| !agreement.over.is_cancelled()) else {
            return false;
        };
        let defers = !self.asks.awaits(message) && self.asks.is_answer_about(OFFER_URI.as_bytes(), message);
        if defers {
            agreement.refusal.borrow_mut().get_or_insert_with(refusal);
        }
        defers
    }

    /// Goes on without, or in the session that there was, if that may be.
    fn do_without(&self, error: RequestError) -> Result<(), RequestError> {
        self.guard.decline();
        if self.guard.is_barred() { Err(error) } else { Ok(()) }
    }
}
