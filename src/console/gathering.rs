//! What is gathered for all who ask meanwhile: one job of the blocking pool at a time, whoever looks and however often.
//!
//! Who comes takes what was begun at most a quarter of a second before, or is being gathered; if that turns out to be
//! older, they gather anew, together. So nobody waits for more than two, and nobody sees anything old.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;

use super::snapshot::Source;
use crate::{
    limits::CONSOLE_AGE,
    worker::{CancellationToken, notes::waiting_for, spawn_blocking},
};

/// What requests share.
pub(super) struct Gatherings {
    source: Source,
    latest: RefCell<Option<Arc<Gathering>>>,
}

/// One, under way or over.
#[derive(Default)]
struct Gathering {
    /// When it was begun, and what was found. None behind its end: it came to nothing.
    found: OnceLock<(Instant, Bytes)>,
    over: CancellationToken,
}

/// Why nothing can be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Untold {
    PoolFull,
    Lost,
}

impl Gatherings {
    pub(super) fn new(source: Source) -> Gatherings {
        Gatherings { source, latest: RefCell::new(None) }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// All of it, as it was when this was called, or not long before.
    pub(super) async fn json(&self) -> Result<Bytes, Untold> {
        let came = Instant::now();
        loop {
            let gathering = self.join(came)?;
            let mut over = gathering.over.cancelled();
            waiting_for("what the console gathers", |context| Pin::new(&mut over).poll(context)).await;
            match gathering.found.get() {
                Some((began, text)) if is_young(*began, came) => return Ok(text.clone()),
                // It had been under way for long: the next is not begun before it is over.
                Some(_old) => {}
                None => return Err(Untold::Lost),
            }
        }
    }

    /// The one that serves whoever came then; it is begun if there is none.
    fn join(&self, came: Instant) -> Result<Arc<Gathering>, Untold> {
        let mut latest = self.latest.borrow_mut();
        if let Some(gathering) = latest.as_ref().filter(|it| it.serves(came)) {
            return Ok(gathering.clone());
        }
        let (gathering, source) = (Arc::new(Gathering::default()), self.source.clone());
        let (sheet, over) = (gathering.clone(), gathering.over.clone().drop_guard());
        // A dump waits for the other workers; this one has its own work.
        let job = move || {
            let began = Instant::now();
            // Nobody else writes here.
            let _ = sheet.found.set((began, source.json()));
            drop(over);
        };
        let handle = spawn_blocking(job).map_err(|_refused| Untold::PoolFull)?;
        // Detached: who asked may go before it is done. However it ends, its guard tells those who wait.
        drop(handle);
        *latest = Some(gathering.clone());
        Ok(gathering)
    }
}

impl Gathering {
    /// Whether it is worth waiting for, or good as it is.
    fn serves(&self, came: Instant) -> bool {
        match self.found.get() {
            Some((began, _text)) => is_young(*began, came),
            None => !self.over.is_cancelled(),
        }
    }
}

fn is_young(began: Instant, came: Instant) -> bool {
    came.saturating_duration_since(began) < CONSOLE_AGE
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc, sync::mpsc, time::Duration};

    use super::*;
    use crate::worker::{Handle, Runtime, spawn, yield_now};

    fn gatherings() -> Rc<Gatherings> {
        Rc::new(Gatherings::new(Source::new(Handle::current(), Vec::new())))
    }

    /// As if it had been begun so long ago.
    fn found(age: Duration) -> Arc<Gathering> {
        let gathering = Gathering::default();
        gathering.found.set((Instant::now().checked_sub(age).unwrap(), Bytes::from_static(b"old"))).unwrap();
        gathering.over.cancel();
        Arc::new(gathering)
    }

    #[test]
    fn what_was_begun_within_a_quarter_of_a_second_is_told_again_and_nothing_older() {
        let began = Instant::now();
        let (young, old) = (began + Duration::from_millis(249), began + Duration::from_millis(250));
        assert!(is_young(began, young) && !is_young(began, old));
        assert!(is_young(old, began), "begun since");
        crate::worker::run(async {
            let gatherings = gatherings();
            *gatherings.latest.borrow_mut() = Some(found(CONSOLE_AGE));
            assert_ne!(gatherings.json().await.unwrap(), "old");
        })
        .unwrap();
    }

    #[test]
    fn who_waited_for_one_that_had_taken_long_has_another_made() {
        crate::worker::run(async {
            let gatherings = gatherings();
            let slow = Arc::new(Gathering::default());
            *gatherings.latest.borrow_mut() = Some(slow.clone());
            let (asking, told) = (gatherings.clone(), Rc::new(Cell::new(false)));
            let seen = told.clone();
            let asked = spawn(async move {
                let text = asking.json().await;
                seen.set(true);
                text
            });
            yield_now().await;
            assert!(!told.get(), "it waits");
            let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
            slow.found.set((long_ago, Bytes::from_static(b"old"))).unwrap();
            slow.over.cancel();
            assert_ne!(asked.await.unwrap().unwrap(), "old");
        })
        .unwrap();
    }

    #[test]
    fn a_gathering_that_comes_to_nothing_is_told_as_such_and_the_next_is_begun_anew() {
        crate::worker::run(async {
            let gatherings = gatherings();
            let lost = Arc::new(Gathering::default());
            *gatherings.latest.borrow_mut() = Some(lost.clone());
            let asking = gatherings.clone();
            let asked = spawn(async move { asking.json().await });
            yield_now().await;
            lost.over.cancel();
            assert_eq!(asked.await.unwrap(), Err(Untold::Lost));
            assert!(gatherings.json().await.unwrap().starts_with(b"{"));
        })
        .unwrap();
    }

    #[test]
    fn a_pool_without_room_is_told_and_does_not_last() {
        let runtime = Runtime::builder().blocking_threads(1).blocking_queue(1).build().unwrap();
        let work = async {
            let gatherings = gatherings();
            let (release, held) = mpsc::channel::<()>();
            let (begun, begins) = mpsc::channel();
            let gate = spawn_blocking(move || {
                begun.send(()).unwrap();
                held.recv()
            });
            begins.recv().unwrap();
            let waiting = spawn_blocking(|| ()).unwrap();
            assert_eq!(gatherings.json().await, Err(Untold::PoolFull));
            release.send(()).unwrap();
            gate.unwrap().await.unwrap().unwrap();
            waiting.await.unwrap();
            assert!(gatherings.json().await.is_ok());
        };
        runtime.block_on(work).unwrap();
    }
}
