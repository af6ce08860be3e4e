//! Who waits for a worker's part of a dump.
//!
//! However often a worker is asked while it is stuck, one job stands in its queue: it answers all who wait when it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};

use crate::worker::{
    context,
    dump::collect::{Part, collect},
    handle::Shared,
};

/// Those who wait for one worker.
#[derive(Default)]
pub(in crate::worker) struct Askers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A job that answers is in the worker's queue.
    is_asked: bool,
    /// A thread that has given up lets go of its own.
    waiting: Vec<Weak<mpsc::Sender<Part>>>,
}

impl Askers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has worker `index` send its part, if it comes to it before the answer is let go of. False if it never will.
    pub(super) fn ask(shared: &Arc<Shared>, index: usize, answer: &Arc<mpsc::Sender<Part>>) -> bool {
        let reach = &shared.workers[index];
        if reach.injector.is_closed() {
            return false;
        }
        let mut state = reach.askers.state();
        state.waiting.retain(|waiting| waiting.strong_count() > 0);
        state.waiting.push(Arc::downgrade(answer));
        if std::mem::replace(&mut state.is_asked, true) {
            return true;
        }
        drop(state);
        let weak = Arc::downgrade(shared);
        let job = move || {
            if let Some(shared) = weak.upgrade() {
                shared.workers[index].askers.answer(index);
            }
        };
        let is_asked = shared.inject(index, Box::new(job)).is_ok();
        if !is_asked {
            reach.askers.state().is_asked = false;
        }
        is_asked
    }

    /// On the worker's thread.
    fn answer(&self, index: usize) {
        let waiting = {
            let mut state = self.state();
            state.is_asked = false;
            std::mem::take(&mut state.waiting)
        };
        for answer in waiting.iter().filter_map(Weak::upgrade) {
            let _ = answer.send(context::with(|context| collect(context, index)));
        }
    }
}
