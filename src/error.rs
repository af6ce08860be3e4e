//! Errors that several rooms share: of the runtime, of tasks, of deadlines.
//!
//! Errors are kept apart by whom they blame. What the system did is an [`io::Error`]; what a peer did is in
//! the protocol's own module; what is here blames the caller or tells the fate of something that he asked
//! for.

use std::any::Any;
use std::sync::{Mutex, PoisonError};
use std::{fmt, io};

use thiserror::Error;

/// Tells why a runtime could not be built or entered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// `block_on` or `turn` was called on a thread that is inside a runtime already.
    #[error("a runtime is already running on this thread: block_on and turn cannot be nested; await instead")]
    Nested,
    /// The runtime was made before a fork, and this is the child: it may only drop it.
    #[error("this runtime was made before fork and cannot be used in the child; make a new one")]
    Forked,
    /// Every worker id of the process is in use.
    #[error("the process has no worker id left")]
    TableFull,
    /// More workers were asked for than a runtime can have, or none.
    #[error("a runtime has 1 to {most} workers, not {asked}")]
    WorkerCount {
        /// How many were asked for.
        asked: usize,
        /// How many there can be.
        most: usize,
    },
    /// A setting of the builder is out of its range.
    #[error("{name} is to be {least} to {most}, not {asked}")]
    Setting {
        /// Which one.
        name: &'static str,
        /// What was asked for.
        asked: usize,
        /// The least that it can be.
        least: usize,
        /// The most that it can be.
        most: usize,
    },
    /// The runtime has been shut down.
    #[error("the runtime is shut down")]
    Closed,
    /// Somebody would wait for the end of the runtime that he keeps from ending.
    #[error("a task or thread of a runtime cannot wait for the runtime's end: it would wait for itself")]
    WaitsForItself,
    /// The system refused something that the runtime needs.
    #[error("the system refuses what a runtime needs: {0}")]
    Io(#[from] io::Error),
}

impl RuntimeError {
    /// Whether the runtime has been shut down, so that trying again is in vain.
    pub fn is_closed(&self) -> bool {
        matches!(self, RuntimeError::Closed)
    }

    /// Whether the call can never work as it was made: inside a runtime, in a forked child, or with a number
    /// of workers out of range.
    pub fn is_misuse(&self) -> bool {
        match self {
            RuntimeError::Nested
            | RuntimeError::Forked
            | RuntimeError::WorkerCount { .. }
            | RuntimeError::Setting { .. }
            | RuntimeError::WaitsForItself => true,
            RuntimeError::TableFull | RuntimeError::Closed | RuntimeError::Io(_) => false,
        }
    }
}

impl From<RuntimeError> for io::Error {
    fn from(error: RuntimeError) -> io::Error {
        match error {
            RuntimeError::Io(error) => error,
            RuntimeError::Nested
            | RuntimeError::Forked
            | RuntimeError::TableFull
            | RuntimeError::WorkerCount { .. }
            | RuntimeError::Setting { .. }
            | RuntimeError::WaitsForItself
            | RuntimeError::Closed => io::Error::other(error),
        }
    }
}

/// Tells why work was not taken, by a worker or by the blocking pool. It was dropped on the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The runtime has been shut down.
    #[error("the runtime is shut down")]
    Closed,
    /// The queue of work to be taken is full; it may be offered again later.
    #[error("the queue of work is full")]
    Full,
    /// The runtime was made before a fork, and this is the child.
    #[error("this runtime was made before fork and cannot be used in the child; make a new one")]
    Forked,
    /// The runtime has no worker of that number.
    #[error("the runtime has no such worker")]
    NoSuchWorker,
    /// The work needs a thread, there is none, and the system refuses to start one.
    #[error("no thread could be started for the work")]
    NoThread,
}

impl SpawnError {
    /// Whether the runtime has been shut down, so that trying again is in vain.
    pub fn is_closed(&self) -> bool {
        matches!(self, SpawnError::Closed)
    }

    /// Whether a bound was reached, so that trying again later may help.
    pub fn is_full(&self) -> bool {
        matches!(self, SpawnError::Full | SpawnError::NoThread)
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> io::Error {
        match error {
            SpawnError::Full => io::Error::new(io::ErrorKind::WouldBlock, error),
            SpawnError::Closed | SpawnError::Forked | SpawnError::NoSuchWorker | SpawnError::NoThread => {
                io::Error::other(error)
            }
        }
    }
}

/// Tells why a task or a blocking job ended without its result.
#[derive(Error)]
#[error("{}", match &self.ending {
    Ending::Panicked { message, .. } if !message.is_empty() => format!("the task panicked: {message}"),
    Ending::Panicked { .. } => String::from("the task panicked"),
    Ending::Cancelled => String::from("the task was cancelled"),
    Ending::Itself => String::from("the task waits for its own end, which cannot come"),
})]
#[non_exhaustive]
pub struct JoinError {
    ending: Ending,
}

enum Ending {
    Cancelled,
    /// It has not ended: who waits is the task.
    Itself,
    /// The lock makes the payload, which is only `Send`, fit for an error that is `Sync`.
    Panicked {
        message: Box<str>,
        payload: Mutex<Box<dyn Any + Send>>,
    },
}

impl JoinError {
    pub(crate) fn cancelled() -> JoinError {
        JoinError { ending: Ending::Cancelled }
    }

    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> JoinError {
        let message: Box<str> = panic_message(&*payload).unwrap_or_default().into();
        JoinError { ending: Ending::Panicked { message, payload: Mutex::new(payload) } }
    }

    /// Whether it was aborted, or dropped with its runtime, before it was done.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.ending, Ending::Cancelled)
    }

    pub(crate) fn itself() -> JoinError {
        JoinError { ending: Ending::Itself }
    }

    /// Whether a task awaited its own handle, and so would have waited for ever; the task has not ended.
    pub fn waits_for_itself(&self) -> bool {
        matches!(self.ending, Ending::Itself)
    }

    /// Whether it panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.ending, Ending::Panicked { .. })
    }

    /// The text of the panic, empty if its payload was not a text; `None` if there was no panic.
    pub fn message(&self) -> Option<&str> {
        match &self.ending {
            Ending::Cancelled | Ending::Itself => None,
            Ending::Panicked { message, .. } => Some(message),
        }
    }

    /// Takes the panic's payload out, for `std::panic::resume_unwind`.
    ///
    /// # Errors
    ///
    /// Gives the error back if there was no panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.ending {
            Ending::Cancelled | Ending::Itself => Err(self),
            Ending::Panicked { payload, .. } => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ending {
            Ending::Cancelled => f.write_str("JoinError::Cancelled"),
            Ending::Itself => f.write_str("JoinError::WaitsForItself"),
            Ending::Panicked { message, .. } => write!(f, "JoinError::Panicked({message:?})"),
        }
    }
}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}

/// The text that a panic was raised with, if it was raised with one.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&'static str>().copied().or_else(|| payload.downcast_ref().map(String::as_str))
}

/// Tells that a deadline came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the deadline has passed")]
#[non_exhaustive]
pub struct Elapsed;

impl From<Elapsed> for io::Error {
    fn from(error: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panicked(raise: fn()) -> JoinError {
        JoinError::panicked(std::panic::catch_unwind(raise).expect_err("it panics"))
    }

    #[test]
    fn a_join_error_tells_a_panic_from_a_cancellation() {
        let cancelled = JoinError::cancelled();
        assert!(cancelled.is_cancelled() && !cancelled.is_panic());
        assert_eq!(cancelled.to_string(), "the task was cancelled");
        assert!(cancelled.try_into_panic().is_err());
        let panicked = JoinError::panicked(Box::new(17));
        assert!(panicked.is_panic() && !panicked.is_cancelled());
        assert_eq!((panicked.message(), panicked.to_string().as_str()), (Some(""), "the task panicked"));
        let payload = panicked.try_into_panic().expect("it panicked");
        assert_eq!(payload.downcast_ref(), Some(&17));
    }

    #[test]
    fn a_join_error_repeats_the_text_of_a_panic() {
        let plain = panicked(|| panic!("no more tea"));
        assert_eq!(plain.to_string(), "the task panicked: no more tea");
        let formatted = panicked(|| panic!("no more {}", "coffee"));
        assert_eq!(formatted.message(), Some("no more coffee"));
    }

    #[test]
    fn errors_may_cross_threads() {
        fn assert_send_and_sync<T: Send + Sync + 'static>() {}
        assert_send_and_sync::<JoinError>();
        assert_send_and_sync::<RuntimeError>();
        assert_send_and_sync::<SpawnError>();
        assert_send_and_sync::<Elapsed>();
    }

    #[test]
    fn as_an_io_error_each_keeps_its_kind() {
        let refused = RuntimeError::from(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(io::Error::from(SpawnError::Full).kind(), io::ErrorKind::WouldBlock);
        assert_eq!(io::Error::from(Elapsed).kind(), io::ErrorKind::TimedOut);
    }
}
