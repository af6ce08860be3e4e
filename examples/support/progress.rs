//! How far a download is, on standard error.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Downloads that take no longer than this show nothing, unless that is asked for.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
/// Between two lines where they stay, in a file or a log.
const PAUSE_OF_LINES: Duration = Duration::from_secs(1);

/// One line that is written over again and again; where standard error is no terminal a line after the other, unless it is
/// always shown.
pub(crate) struct Progress {
    shown: Option<bool>,
    stays: bool,
    began: Instant,
    next: Instant,
    have: u64,
    total: Option<u64>,
    written: bool,
}

impl Progress {
    /// `always`: from the first moment; otherwise once it takes long. Nothing at all unless `on`.
    pub(crate) fn new(on: bool, always: bool, total: Option<u64>) -> Progress {
        let began = Instant::now();
        let next = if always { began } else { began + PATIENCE };
        let stays = !always && !io::stderr().is_terminal();
        Progress { shown: on.then_some(always), stays, began, next, have: 0, total, written: false }
    }

    /// Another piece came.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.have += bytes as u64;
        if self.shown.is_some() && Instant::now() >= self.next {
            self.show();
            self.next = Instant::now() + if self.stays { PAUSE_OF_LINES } else { PAUSE };
        }
    }

    /// That was all.
    pub(crate) fn finish(mut self) {
        if self.written || self.shown == Some(true) {
            self.show();
            if !self.stays {
                drop(writeln!(io::stderr()));
            }
        }
    }

    fn show(&mut self) {
        self.written = true;
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = amount(self.have as f64 / seconds);
        let line = match self.total.filter(|&total| total > 0) {
            Some(total) => {
                let percent = self.have as f64 * 100.0 / total as f64;
                format!("{} of {}  {percent:.0}%  {rate}/s", amount(self.have as f64), amount(total as f64))
            }
            None => format!("{}  {rate}/s", amount(self.have as f64)),
        };
        let mut error = io::stderr();
        // A standard error that is gone shows nothing.
        drop(if self.stays { writeln!(error, "{line}") } else { write!(error, "\r{line:<60}") });
        drop(error.flush());
    }
}

fn amount(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", units[unit]) }
}
