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

    /// Until when the date is current that was given last.
    #[cfg_attr(not(feature = "http1"), expect(dead_code, reason = "only HTTP/1 keeps it"))]
    pub(super) fn stale_at(&self) -> u64 {
        self.stale_at.get()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_when_it_was_asked_for_in_the_fixed_form() {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let date = Date::new();
        for now in [0, u64::MAX / 2] {
            let before = SystemTime::now();
            let text = date.at(now).to_str().unwrap().to_owned();
            let after = SystemTime::now();
            assert!(text.len() == 29 && text.ends_with(" GMT"), "{text}");
            let told = seconds(httpdate::parse_http_date(&text).unwrap());
            assert!((seconds(before)..=seconds(after)).contains(&told), "{text}");
        }
    }
}
