//! Connections that were accepted and are not served yet: something is read from them before the protocol begins.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use crate::{
    limits::ARRIVALS_MAX,
    slab::{Key, Slab},
    task::JoinHandle,
    time,
    worker::{self, dump},
};

/// Those of one worker. They are few, for each has a deadline of its own.
#[derive(Default)]
pub(super) struct Arrivals {
    tasks: RefCell<Slab<Option<JoinHandle<()>>>>,
    waiting: RefCell<Option<Waker>>,
}

impl Arrivals {
    /// Begins with one more, unless there are as many as there may be.
    pub(super) fn begin(self: &Rc<Self>, arrive: impl Future<Output = ()> + 'static) -> bool {
        if self.tasks.borrow().len() >= ARRIVALS_MAX {
            return false;
        }
        let key = self.tasks.borrow_mut().insert(None);
        let leaving = Leaving { arrivals: self.clone(), key };
        let task = worker::spawn(async move {
            let _leaving = leaving;
            arrive.await;
        });
        if let Some(place) = self.tasks.borrow_mut().get_mut(key) {
            *place = Some(task);
        }
        true
    }

    /// Waits until all have arrived, then ends those that have not within `grace`.
    pub(super) async fn finish(&self, grace: Duration) {
        let all = dump::waiting(|out| write!(out, "connections that have not begun"), self.none());
        if time::timeout(grace, all).await.is_err() {
            self.tasks.borrow().iter().filter_map(|(_key, task)| task.as_ref()).for_each(JoinHandle::abort);
            self.none().await;
        }
    }

    async fn none(&self) {
        poll_fn(|context| {
            if self.tasks.borrow().is_empty() {
                return Poll::Ready(());
            }
            drop(self.waiting.replace(Some(context.waker().clone())));
            Poll::Pending
        })
        .await;
    }
}

/// Takes a connection off the list, however its task ends.
struct Leaving {
    arrivals: Rc<Arrivals>,
    key: Key,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let task = self.arrivals.tasks.borrow_mut().remove(self.key);
        drop(task);
        if self.arrivals.tasks.borrow().is_empty() {
            let waiting = self.arrivals.waiting.take();
            if let Some(waiting) = waiting {
                waiting.wake();
            }
        }
    }
}
