//! Notes: what a task says of a wait that nothing else tells of.
//!
//! Who waits for a descriptor, a timer or a task is found where its waker lies. Other waits (the answer to a request,
//! a place in a queue) are told by a note, which stands in the worker's table while the future is pending. The table
//! holds it weakly: a future that is dropped on another thread leaves a dead entry, which the next sweep removes.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::{self, Rc},
    sync::{self, Arc},
    task::{Context, Poll},
};

use crate::{
    contain::drop_contained,
    limits::NOTES_SWEPT,
    slab::{Key, Slab},
    task::{Beside, TaskId},
    worker::{context, dump::Wait},
};

type Shared = dyn Fn(&mut fmt::Formatter<'_>) -> fmt::Result;

/// Something that says what is waited for, by what it is anyway.
pub(crate) trait Describe {
    fn describe(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// The same for something that knows itself which tasks wait for it, so that none of them needs a note.
pub(crate) trait DescribeMany {
    /// Says for each task what it waits for.
    fn describe_many(&self, say: &mut dyn FnMut(u64, String));
}

/// Something that knows which tasks it waits for the end of.
pub(crate) trait Awaits {
    fn awaited(&self) -> Vec<TaskId>;
}

/// Where a note's text comes from; nothing is kept alive for it.
pub(crate) enum Source {
    /// A closure of its own.
    Shared(sync::Weak<Shared>),
    /// What the waiting future shares with others on its worker.
    Local(rc::Weak<dyn Describe>),
    /// The same, of many tasks; the note is of none.
    Many(rc::Weak<dyn DescribeMany>),
    /// The end of tasks.
    Tasks(rc::Weak<dyn Awaits>),
    /// Words that are always the same.
    Words(&'static str),
}

impl Source {
    fn upgrade(&self) -> Option<Text> {
        match self {
            Source::Shared(text) => text.upgrade().map(Text::Shared),
            Source::Local(text) => text.upgrade().map(Text::Local),
            Source::Many(texts) => texts.upgrade().map(Text::Many),
            Source::Tasks(tasks) => tasks.upgrade().map(Text::Tasks),
            Source::Words(words) => Some(Text::Words(words)),
        }
    }

    fn is_dead(&self) -> bool {
        match self {
            Source::Shared(text) => text.strong_count() == 0,
            Source::Local(text) => text.strong_count() == 0,
            Source::Many(texts) => texts.strong_count() == 0,
            Source::Tasks(tasks) => tasks.strong_count() == 0,
            Source::Words(_) => false,
        }
    }
}

/// The notes of one worker.
#[derive(Default)]
pub(super) struct Notes {
    table: RefCell<Slab<Entry>>,
    /// How many entries there may be before the dead ones are swept out.
    sweep_at: Cell<usize>,
}

struct Entry {
    task: u64,
    source: Source,
}

impl Notes {
    /// What each note says and the task that is said to wait.
    pub(super) fn read(&self, most: usize) -> Vec<(u64, Wait)> {
        let live: Vec<(u64, Text)> = {
            let table = self.table.borrow();
            // All of them: many may have nothing to say.
            table.iter().filter_map(|(_, entry)| Some((entry.task, entry.source.upgrade()?))).collect()
        };
        // Outside the borrow: a description is foreign code.
        let mut read = Vec::new();
        for (task, text) in live {
            match text {
                Text::Many(many) => many.describe_many(&mut |task, text| read.push((task, Wait::Note(text)))),
                Text::Tasks(it) => read.push((task, Wait::Scope(it.awaited()))),
                Text::Shared(describe) => read.push((task, written(&|out| describe(out)))),
                Text::Local(it) => read.push((task, written(&|out| it.describe(out)))),
                Text::Words(words) => read.push((task, Wait::Note(words.to_owned()))),
            }
        }
        read.truncate(most);
        read
    }

    fn insert(&self, task: u64, source: Source) -> Key {
        let mut table = self.table.borrow_mut();
        if table.len() >= self.sweep_at.get().max(NOTES_SWEPT) {
            let dead = table.iter().filter(|(_, entry)| entry.source.is_dead());
            let dead: Vec<Key> = dead.map(|(key, _)| key).collect();
            for key in dead {
                table.remove(key);
            }
            self.sweep_at.set(table.len() * 2);
        }
        table.insert(Entry { task, source })
    }

    fn remove(&self, key: Key, task: u64) {
        let mut table = self.table.borrow_mut();
        // On another worker the key may name another's note.
        if table.get(key).is_some_and(|entry| entry.task == task) {
            table.remove(key);
        }
    }
}

enum Text {
    Shared(Arc<Shared>),
    Local(Rc<dyn Describe>),
    Many(Rc<dyn DescribeMany>),
    Tasks(Rc<dyn Awaits>),
    Words(&'static str),
}

/// What a description writes. It may find borrowed what the task that asks for the dump has borrowed.
fn written(describe: &dyn Fn(&mut fmt::Formatter<'_>) -> fmt::Result) -> Wait {
    Wait::Note(match catch_unwind(AssertUnwindSafe(|| Described(describe).to_string())) {
        Ok(text) => text,
        Err(payload) => {
            drop_contained(payload);
            "something whose description panicked".to_owned()
        }
    })
}

struct Described<'d>(&'d dyn Fn(&mut fmt::Formatter<'_>) -> fmt::Result);

impl fmt::Display for Described<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(out)
    }
}

/// Notes on this worker what many wait for; the note goes with what it is about. Nothing outside a runtime.
#[cfg_attr(not(feature = "message"), expect(dead_code, reason = "only connections of messages do"))]
pub(crate) fn note_many(source: rc::Weak<dyn DescribeMany>) {
    context::try_with(|worker| {
        if let Some(worker) = worker {
            worker.notes().insert(0, Source::Many(source));
        }
    });
}

/// A note's place in the table of the worker where it was entered; dropping it takes the note out.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<(Key, u64)>);

impl Place {
    /// Says that the running task waits for what `source` describes, if that was not said before.
    #[inline]
    pub(crate) fn enter(&mut self, source: impl FnOnce() -> Source) {
        context::try_with(|worker| {
            let Some(worker) = worker else { return };
            let task = worker.tasks().running();
            if self.0.is_some_and(|(_, known)| known == task) {
                return;
            }
            self.leave();
            self.0 = Some((worker.notes().insert(task, source()), task));
        });
    }

    /// The wait is over.
    #[inline]
    pub(crate) fn leave(&mut self) {
        let Some((key, task)) = self.0.take() else { return };
        context::try_with(|worker| {
            if let Some(worker) = worker {
                worker.notes().remove(key, task);
            }
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Polls until it is over, and says meanwhile what the running task waits for.
pub(crate) async fn waiting_for<T>(
    words: &'static str,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> T {
    let mut place = Place::default();
    poll_fn(|context| {
        let polled = poll(context);
        match polled {
            Poll::Ready(_) => place.leave(),
            Poll::Pending => place.enter(|| Source::Words(words)),
        }
        polled
    })
    .await
}

/// What a pending future waits for, in words.
pub struct Note<D> {
    place: Place,
    describe: Words<D>,
}

enum Words<D> {
    Given(D),
    Shared(Arc<D>),
    /// While the former become the latter.
    Moving,
}

impl<D: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + 'static> Note<D> {
    fn enter(&mut self) {
        let words = &mut self.describe;
        self.place.enter(|| {
            let text = match mem::replace(words, Words::Moving) {
                Words::Given(describe) => Arc::new(describe),
                Words::Shared(text) => text,
                Words::Moving => unreachable!("nothing foreign runs between the two"),
            };
            *words = Words::Shared(text.clone());
            let text: Arc<Shared> = text;
            Source::Shared(Arc::downgrade(&text))
        });
    }
}

impl<D> fmt::Debug for Note<D> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Note").field("place", &self.place).finish_non_exhaustive()
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
    Beside::new(future, Note { place: Place::default(), describe: Words::Given(describe) })
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
            Poll::Ready(_) => note.place.leave(),
            Poll::Pending => note.enter(),
        }
        polled
    }
}
