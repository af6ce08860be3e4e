//! Why a request is answered without the application, and the connection closed.

use http::StatusCode;

use crate::proto::h2::Trip;

/// What the peer did wrong, or which bound it ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: &'static str,
    /// The bound, when it was not a violation.
    pub(super) trip: Option<Trip>,
}

impl Refusal {
    /// The request is malformed.
    #[cold]
    pub(super) const fn bad(text: &'static str) -> Refusal {
        Refusal { status: StatusCode::BAD_REQUEST, text, trip: None }
    }

    #[cold]
    pub(super) const fn new(status: StatusCode, text: &'static str) -> Refusal {
        Refusal { status, text, trip: None }
    }

    /// A bound of ours was passed.
    #[cold]
    pub(super) const fn bound(status: StatusCode, text: &'static str, trip: Trip) -> Refusal {
        Refusal { status, text, trip: Some(trip) }
    }
}
