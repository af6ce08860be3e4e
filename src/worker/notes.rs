//! Notes: what a task says of a wait that nothing else tells of.
//!
//! Who waits for a descriptor, a timer or a task is found where its waker lies. Other waits (the answer to a request,
//! a place in a queue) are told by a note, which stands in the worker's table while the future is pending. The table
//! holds it weakly: a future that is dropped on another thread leaves a dead entry, which the next sweep removes.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use crate::{
    limits::NOTES_SWEPT,
    slab::{Key, Slab},
    task::Beside,
    worker::context,
};

type Describe = dyn Fn(&mut fmt::Formatter<'_>) -> fmt::Result;

/// The notes of one worker.
#[derive(Default)]
pub(super) struct Notes {
    table: RefCell<Slab<Entry>>,
    /// How many entries there may be before the dead ones are swept out.
    sweep_at: Cell<usize>,
}

struct Entry {
    task: u64,
    text: Weak<Describe>,
}

impl Notes {
    /// The text of each note and the task that is said to wait.
    pub(super) fn read(&self, most: usize) -> Vec<(u64, String)> {
        let live: Vec<(u64, Arc<Describe>)> = {
            let table = self.table.borrow();
            let upgraded = table.iter().filter_map(|(_, entry)| Some((entry.task, entry.text.upgrade()?)));
            upgraded.take(most).collect()
        };
        // Outside the borrow: a description is foreign code.
        live.into_iter().map(|(task, text)| (task, written(&*text))).collect()
    }

    fn enter(&self, place: Option<Key>, task: u64, text: &Arc<impl DescribeFn>) -> Key {
        let mut table = self.table.borrow_mut();
        if let Some(key) = place {
            if table.get(key).is_some_and(|entry| entry.task == task) {
                return key;
            }
        }
        if table.len() >= self.sweep_at.get().max(NOTES_SWEPT) {
            let dead = table.iter().filter(|(_, entry)| entry.text.strong_count() == 0);
            let dead: Vec<Key> = dead.map(|(key, _)| key).collect();
            for key in dead {
                table.remove(key);
            }
            self.sweep_at.set(table.len() * 2);
        }
        let text: Arc<Describe> = text.clone();
        table.insert(Entry { task, text: Arc::downgrade(&text) })
    }

    fn leave(&self, place: Key, task: u64) {
        let mut table = self.table.borrow_mut();
        if table.get(place).is_some_and(|entry| entry.task == task) {
            table.remove(place);
        }
    }
}

/// What a description writes. It may find borrowed what the task that asks for the dump has borrowed.
fn written(text: &Describe) -> String {
    match catch_unwind(AssertUnwindSafe(|| Text(text).to_string())) {
        Ok(text) => text,
        Err(payload) => {
            mem::forget(payload); // its destructor might panic and start over
            "something whose description panicked".to_owned()
        }
    }
}

struct Text<'a>(&'a Describe);

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(out)
    }
}

/// A closure that writes a text.
pub trait DescribeFn: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + 'static {}

impl<D: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + 'static> DescribeFn for D {}

/// What a pending future waits for, in words.
pub struct Note<D> {
    given: Option<D>,
    shared: Option<Arc<D>>,
    place: Option<(Key, u64)>,
}

impl<D> Note<D> {
    fn leave(&mut self) {
        if let Some((place, task)) = self.place.take() {
            context::try_with(|worker| {
                if let Some(worker) = worker {
                    worker.notes().leave(place, task);
                }
            });
        }
    }
}

impl<D: DescribeFn> Note<D> {
    fn enter(&mut self) {
        context::try_with(|worker| {
            let Some(worker) = worker else { return };
            let given = &mut self.given;
            let Some(text) = self.shared.take().or_else(|| given.take().map(Arc::new)) else { return };
            let task = worker.tasks().running();
            let place = self.place.filter(|(_, known)| *known == task).map(|(place, _)| place);
            self.place = Some((worker.notes().enter(place, task, &text), task));
            self.shared = Some(text);
        });
    }
}

impl<D> Drop for Note<D> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<D> fmt::Debug for Note<D> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Note").field("placed", &self.place.is_some()).finish_non_exhaustive()
    }
}

/// Future of [`waiting`].
pub type Waiting<D, F> = Beside<F, Note<D>>;

/// Lets dumps say what `future` waits for, in the words that `describe` writes.
///
/// For a wait that the runtime does not see for itself: a lock, a channel, an answer from somewhere. While the
/// future is pending a dump shows the text beside its task, instead of "something external"; `describe` is called
/// for a dump and at no other time, on the worker that polls the future. It must not block. The first time that the
/// future is pending costs an allocation.
///
/// # Cancellation
///
/// As the future's.
///
/// # Examples
///
/// ```
/// use wakering::dump;
///
/// wakering::run(async {
///     let key = 7;
///     let row = dump::waiting(move |out| write!(out, "the lock of row {key}"), std::future::pending::<()>());
///     wakering::spawn(row);
///     wakering::yield_now().await;
///     let text = wakering::Handle::current().dump().to_string();
///     assert!(text.contains("waits for the lock of row 7"), "{text}");
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[must_use = "futures do nothing unless awaited"]
pub fn waiting<D, F>(describe: D, future: F) -> Waiting<D, F>
where
    D: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + 'static,
    F: Future,
{
    Beside::new(future, Note { given: Some(describe), shared: None, place: None })
}

impl<D, F> Future for Beside<F, Note<D>>
where
    D: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + 'static,
    F: Future,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (future, note) = self.project();
        let polled = future.poll(context);
        match polled {
            Poll::Ready(_) => note.leave(),
            Poll::Pending => note.enter(),
        }
        polled
    }
}
