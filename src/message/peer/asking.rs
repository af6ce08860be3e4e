//! Requests to a peer: how they begin, who waits for them, and when their time is over.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{End, Peer};
use crate::{
    clock::nanos,
    message::{asks::Answer, error::RequestError, layer::Layer, metrics::count, queue::Purpose},
    proto::message::{Begun, Message, Ticket},
    worker::timer::{Timer, now, turn_time},
};

impl Peer {
    /// Asks, and waits for the answer, in an inner layer.
    pub(in crate::message) async fn ask(
        &self,
        mut message: Message,
        inner: &Layer,
        patience: Duration,
    ) -> Result<Message, RequestError> {
        let answer = self.begin(&mut message, inner, patience);
        let mut answered = match &self.end {
            End::Link(_) => answer.await,
            End::Far(_) => self.outwait(answer).await,
        };
        self.finish(inner, &mut answered);
        answered
    }

    /// Begins to ask: what there is to be done before an answer is waited for. Who waits for it is to [`finish`](Peer::finish)
    /// it. What keeps the request from being sent is the answer.
    pub(in crate::message) fn begin(
        &self,
        message: &mut Message,
        inner: &Layer,
        patience: Duration,
    ) -> Answer {
        match self.try_begin(message, inner, patience) {
            Ok(ticket) => self.asks().answer(ticket),
            Err(error) => self.asks().failed(error),
        }
    }

    #[inline]
    fn try_begin(
        &self,
        message: &mut Message,
        inner: &Layer,
        patience: Duration,
    ) -> Result<Ticket, RequestError> {
        count(&self.node().counts.requests, 1);
        if let Some(end) = self.over() {
            return Err(RequestError::after(end).before_sent());
        }
        let now = match &self.end {
            End::Link(link) => link.asks.count_from(),
            End::Far(far) if far.is_own => return Err(RequestError::Itself),
            End::Far(_) => now(),
        };
        self.expire(now);
        let deadline = now.saturating_add(nanos(patience));
        let begun = self.asks().begin(message, deadline, self.has_room())?;
        let (Begun::Now(ticket) | Begun::Later(ticket)) = begun;
        let mut sent = self.wrap_in(inner, message);
        if sent.is_ok() {
            match begun {
                Begun::Now(_) => sent = self.send_outer(message, Purpose::Request),
                Begun::Later(_) => {
                    let kept = std::mem::replace(message, Message::new(message.kind, "", ""));
                    self.asks().keep(ticket, kept);
                }
            }
        }
        if let Err(error) = sent {
            self.asks().withdraw(ticket);
            self.send_waiting();
            return Err(error.into());
        }
        if let End::Link(link) = &self.end {
            link.look_at(deadline);
            if link.handlers.is_full() || link.is_crowded() {
                link.handlers.note_ask();
            }
        }
        Ok(ticket)
    }

    /// Makes an answer readable that is within an inner layer; counts those that were late.
    #[inline]
    pub(in crate::message) fn finish(&self, inner: &Layer, answered: &mut Result<Message, RequestError>) {
        match answered {
            Ok(answer) if inner.is_empty() => answer.fields.answer_nothing(),
            Ok(answer) => match self.guard().unwrap_in(inner, answer, self.said().as_deref()) {
                Ok(()) => answer.fields.answer_nothing(),
                Err(refused) => *answered = Err(RequestError::NotGenuine(refused.to_string())),
            },
            Err(error) => self.node().counts.note(error),
        }
    }

    /// Waits for an answer where nobody else sees that time is over: its own, or that of the requests before it.
    pub(in crate::message) async fn outwait(&self, answer: Answer) -> Result<Message, RequestError> {
        let (mut answer, mut timer) = (pin!(answer), Timer::at(self.asks().due()));
        poll_fn(|context| {
            loop {
                if let Poll::Ready(outcome) = answer.as_mut().poll(context) {
                    return Poll::Ready(outcome);
                }
                if timer.poll_elapsed(context).is_pending() {
                    return Poll::Pending;
                }
                self.expire(turn_time());
                timer.set_deadline(self.asks().due());
            }
        })
        .await
    }

    /// Lets go of the requests that were not answered in their time, and sends those that waited for them.
    #[inline]
    pub(in crate::message) fn expire(&self, now: u64) {
        if self.asks().due() <= now {
            self.asks().expire(now);
            self.send_waiting();
        }
    }

    /// Sends the requests whose turn it is.
    #[inline]
    pub(in crate::message) fn send_waiting(&self) {
        if self.asks().is_any_waiting() {
            self.send_those_that_waited();
        }
    }

    fn send_those_that_waited(&self) {
        while let Some((ticket, mut message)) = self.asks().next_to_send(self.has_room()) {
            if let Err(error) = self.send_outer(&mut message, Purpose::Request) {
                self.asks().fail(ticket, error.into());
            }
        }
    }

    /// Whether another request may be put behind those that wait to be written.
    #[inline]
    fn has_room(&self) -> bool {
        match &self.end {
            End::Link(link) => link.has_room(),
            End::Far(_) => true,
        }
    }

    /// Ends a request with an error, if anybody waits for it; its turn is over.
    pub(super) fn settle(&self, answered: Option<Ticket>, error: RequestError) {
        if let Some(ticket) = answered {
            self.asks().settle(ticket, error);
        }
        self.send_waiting();
    }
}
