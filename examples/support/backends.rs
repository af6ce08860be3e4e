//! The servers behind a proxy: whose turn it is, and who is left out after failures.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use wakering::http::{Body, BodyError, Content, Frame};

/// How long a server is left out after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One server.
pub(crate) struct Backend {
    /// Its host and port.
    pub(crate) authority: String,
    failures: Cell<u32>,
    back_at: Cell<Option<Instant>>,
}

/// All servers, as one worker sees them.
pub(crate) struct Backends {
    all: Vec<Rc<Backend>>,
    turn: Cell<usize>,
}

impl Backends {
    pub(crate) fn new(authorities: &[String]) -> Backends {
        let backend = |authority: &String| {
            Rc::new(Backend {
                authority: authority.clone(),
                failures: Cell::new(0),
                back_at: Cell::new(None),
            })
        };
        Backends { all: authorities.iter().map(backend).collect(), turn: Cell::new(0) }
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The next in turn that is not left out, of those that `tried` does not have; the one that is back first, when all
    /// are left out.
    pub(crate) fn next(&self, tried: &[Rc<Backend>]) -> Option<Rc<Backend>> {
        let (now, turn) = (Instant::now(), self.turn.get());
        self.turn.set(turn.wrapping_add(1));
        let in_turn = (0..self.all.len()).map(|at| &self.all[(turn.wrapping_add(at)) % self.all.len()]);
        let left = in_turn.filter(|backend| !tried.iter().any(|it| Rc::ptr_eq(it, backend)));
        let back_at = |backend: &Backend| backend.back_at.get().filter(|at| *at > now);
        // `None` is before any instant, and of equals the first is taken.
        left.min_by_key(|backend| back_at(backend)).cloned()
    }
}

impl Backend {
    /// It has answered.
    pub(crate) fn worked(&self) {
        self.failures.set(0);
        self.back_at.set(None);
    }

    /// It could not be reached, or broke off. Requests that were under way together fail together, which is one failure.
    pub(crate) fn failed(&self) {
        if self.back_at.get().is_some_and(|at| at > Instant::now()) {
            return;
        }
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE);
        self.back_at.set(Some(Instant::now() + pause));
    }
}

/// Content that goes to another server when the first one has not asked for it.
#[derive(Clone)]
pub(crate) struct Untouched(Rc<RefCell<(Body, bool)>>);

impl Untouched {
    pub(crate) fn new(body: Body) -> Untouched {
        Untouched(Rc::new(RefCell::new((body, false))))
    }

    /// Whether nobody has asked for any of it.
    pub(crate) fn is_whole(&self) -> bool {
        !self.0.borrow().1
    }

    /// It as the content of one attempt.
    pub(crate) fn body(&self) -> Body {
        if self.0.borrow().0.is_empty() { Body::empty() } else { Body::streaming(self.clone()) }
    }
}

impl Content for Untouched {
    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut inner = self.0.borrow_mut();
        inner.1 = true;
        inner.0.poll_frame(context)
    }

    fn exact_length(&self) -> Option<u64> {
        self.0.borrow().0.exact_length()
    }
}
