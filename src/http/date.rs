//! The `date` field of responses, made once a second and only while answering (RFC 9110 §6.6.1).

use std::{
    cell::{Cell, Ref, RefCell},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ::http::HeaderValue;

use crate::clock::nanos;

/// The current date, and until when it is current by the worker's clock.
pub(super) struct Date {
    value: RefCell<HeaderValue>,
    stale_at: Cell<u64>,
}

impl Date {
    pub(super) fn new() -> Self {
        Date { value: RefCell::new(HeaderValue::from_static("")), stale_at: Cell::new(0) }
    }

    /// The date at `now` (the worker's nanoseconds).
    pub(super) fn at(&self, now: u64) -> Ref<'_, HeaderValue> {
        if now >= self.stale_at.get() {
            self.renew(now);
        }
        self.value.borrow()
    }

    fn renew(&self, now: u64) {
        let time = SystemTime::now();
        let into_second = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let left = Duration::from_secs(1).saturating_sub(Duration::from_nanos(u64::from(into_second)));
        self.stale_at.set(now.saturating_add(nanos(left)));
        let text = httpdate::fmt_http_date(time);
        if let Ok(value) = HeaderValue::try_from(text) {
            *self.value.borrow_mut() = value;
        }
    }
}
