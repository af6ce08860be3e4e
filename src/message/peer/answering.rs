//! Handlers of what a peer has said, and what they answer.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::Peer;
use crate::{
    contain::{attempt, contain},
    message::{
        ending::Subject,
        error::SendError,
        queue::Purpose,
        routes::{Answering, Called, Route},
    },
    proto::message::{Asked, Kind, Message},
};

impl Peer {
    /// Has a handler deal with a message, and sends what it answers.
    pub(in crate::message) async fn answer(&self, route: Rc<Route>, message: &mut Option<Message>) {
        let mut at_work = self.node().work.begin();
        let called = poll_fn(|context| Poll::Ready(self.call(&route, message, context)));
        if let Some(handling) = called.await {
            at_work.waits(handling.subject(self.addr()));
            self.answer_late(handling).await;
        }
    }

    /// Calls a handler with a message, which is taken away, and sends what it answers; unless it waits for something.
    pub(in crate::message) fn call(
        &self,
        route: &Rc<Route>,
        message: &mut Option<Message>,
        context: &mut Context<'_>,
    ) -> Option<Handling> {
        let called = message.as_ref()?;
        let (asked, is_noted, mut answer) = (Asked::of(called), route.note(called), None);
        match route.call(message, self, context, &mut answer) {
            Called::Done => {
                if is_noted {
                    route.note_calm();
                }
                if let Some(answer) = &mut answer {
                    self.reply(route, asked, answer);
                }
            }
            Called::Waits(answering) => return Some(Handling { route: route.clone(), asked, answering }),
            Called::Panicked => {
                if is_noted {
                    route.note_calm();
                }
                self.fail(asked, "the handler failed");
            }
        }
        None
    }

    /// Waits for a handler, and sends what it answers.
    pub(in crate::message) async fn answer_late(&self, handling: Handling) {
        let Handling { route, asked, answering } = handling;
        match contained(|| answering).await {
            Ok(Some(mut answer)) => self.reply(&route, asked, &mut answer),
            Ok(None) => {}
            Err(()) => self.fail(asked, "the handler failed"),
        }
    }

    /// Sends what a handler answers.
    fn reply(&self, route: &Route, asked: Asked, answer: &mut Message) {
        if route.is_default && !(asked.may_be_answered() && answer.kind.ends_an_exchange()) {
            return;
        }
        answer.fields.renew();
        asked.repeat_number(answer);
        match self.wrap_in(&route.layer, answer).and_then(|()| self.send_outer(answer, Purpose::Answer)) {
            // Only datagrams find no room; they are counted.
            Ok(()) | Err(SendError::Closed | SendError::Full) => {}
            // It is too long for a message: nobody would learn that.
            Err(error) => self.fail(asked, &error.to_string()),
        }
    }

    /// Tells who asked that there will be no answer.
    fn fail(&self, asked: Asked, text: &str) {
        if asked.may_be_answered() {
            self.complain(Some(&asked.message()), Kind::ERROR, text);
        }
    }
}

/// A handler that waits for something, and what it was called for.
pub(in crate::message) struct Handling {
    route: Rc<Route>,
    asked: Asked,
    answering: Answering,
}

impl Handling {
    /// What it is called for, by whom; to be asked as soon as it waits.
    pub(in crate::message) fn subject(&self, from: SocketAddr) -> Subject {
        Subject { kind: self.asked.kind(), uri: self.route.note_wait(), from }
    }
}

/// Runs a handler; its panic ends nothing but itself, and has been told by the panic hook. So it is when its future panics while
/// it is dropped, which is done here, and not where others would end with it.
pub(in crate::message) async fn contained<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, ()> {
    let mut future = pin!(Some(attempt(make).ok_or(())?));
    poll_fn(|context| {
        let polled = attempt(|| {
            let polled = future.as_mut().as_pin_mut()?.poll(context);
            if polled.is_ready() {
                future.set(None);
            }
            Some(polled)
        });
        match polled.flatten() {
            Some(polled) => polled.map(Ok),
            None => {
                contain(|| future.set(None));
                Poll::Ready(Err(()))
            }
        }
    })
    .await
}
