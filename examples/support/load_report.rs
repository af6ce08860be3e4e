//! What `echo_load` tells: progress while it runs, a report when it ends.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::{
    latency::Latencies,
    load_line::{LoadLine, Output},
};

const MIB: f64 = (1 << 20) as f64;

/// A line a second on standard error: one that is written over on a terminal.
pub(crate) struct Progress {
    mpr: u64,
    msize: f64,
    shown_at: Duration,
    shown: u64,
    end: &'static str,
}

impl Progress {
    pub(crate) fn new(line: &LoadLine) -> Progress {
        let end = if io::stderr().is_terminal() { "  \r" } else { "\n" };
        Progress { mpr: line.mpr as u64, msize: line.msize as f64, shown_at: Duration::ZERO, shown: 0, end }
    }

    /// So many rounds have been made after so much time.
    pub(crate) fn show(&mut self, after: Duration, rounds: u64) {
        let messages = rounds * self.mpr;
        let rate = (messages - self.shown) as f64 / (after - self.shown_at).as_secs_f64();
        let (seconds, mib) = (after.as_secs_f64(), rate * self.msize / MIB);
        let end = self.end;
        eprint!("{seconds:.0} s: {} messages, {rate:.0} req/s, {mib:.1} MiB/s{end}", grouped(messages));
        // A standard error that is gone shows nothing.
        drop(io::stderr().flush());
        (self.shown_at, self.shown) = (after, messages);
    }
}

/// So many connections have been made; where standard error is gone, nobody is told.
pub(crate) fn show_connecting(made: usize, of: usize) {
    let end = if io::stderr().is_terminal() { "  \r" } else { "\n" };
    let mut error = io::stderr();
    drop(write!(error, "connecting: {} of {}{end}", grouped(made as u64), grouped(of as u64)));
    drop(error.flush());
}

/// What came of a run.
pub(crate) struct Report<'a> {
    pub(crate) line: &'a LoadLine,
    pub(crate) elapsed: Duration,
    pub(crate) latencies: &'a Latencies,
    pub(crate) interrupted: bool,
    pub(crate) error: Option<String>,
}

impl Report<'_> {
    pub(crate) fn print(&self) -> io::Result<()> {
        let text = match self.line.output {
            Output::Text => self.text(),
            Output::Json => format!("{}\n", self.json()),
        };
        let mut out = io::stdout();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn messages(&self) -> u64 {
        self.latencies.count * self.line.mpr as u64
    }

    fn bytes(&self) -> u64 {
        self.messages() * self.line.msize as u64
    }

    fn a_second(&self, amount: f64) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { amount / seconds } else { 0.0 }
    }

    fn text(&self) -> String {
        let line = self.line;
        let end = if self.interrupted { ", interrupted" } else { "" };
        let mut text = format!(
            "server       {} ({} connections, {} x {} bytes a round)\n\
             messages     {} in {:.2} s{end}, every byte checked\n\
             req/s        {:.0}\n\
             MiB/s        {:.2}\n",
            line.addr,
            line.concurrency,
            line.mpr,
            line.msize,
            grouped(self.messages()),
            self.elapsed.as_secs_f64(),
            self.a_second(self.messages() as f64),
            self.a_second(self.bytes() as f64 / MIB),
        );
        if let Some(latency) = self.latencies.summary() {
            text += &format!(
                "latency, us  min {:.1}  mean {:.1}  max {:.1}  std {:.1}\n\
                 percentiles ",
                latency.min, latency.mean, latency.max, latency.std
            );
            for (name, value) in latency.percentiles {
                text += &format!(" {name}% {value:.1} ");
            }
            text = format!("{}\n", text.trim_end());
        }
        text
    }

    fn json(&self) -> Value {
        let line = self.line;
        let latency = self.latencies.summary();
        let of = |value: fn(&crate::latency::Summary) -> f64| latency.as_ref().map(value).map(rounded);
        let percentiles = latency.as_ref().map(|latency| {
            let all =
                latency.percentiles.iter().map(|&(name, value)| (name.to_owned(), json!(rounded(value))));
            Value::Object(all.collect::<Map<_, _>>())
        });
        json!({
            "addr": line.addr,
            "duration_s": self.elapsed.as_secs_f64(),
            "concurrency": line.concurrency,
            "msize": line.msize,
            "mpr": line.mpr,
            "messages": self.messages(),
            "rounds": self.latencies.count,
            "bytes": self.bytes(),
            "req_per_s": rounded(self.a_second(self.messages() as f64)),
            "mib_per_s": rounded(self.a_second(self.bytes() as f64 / MIB)),
            "latency_min_us": of(|latency| latency.min),
            "latency_mean_us": of(|latency| latency.mean),
            "latency_max_us": of(|latency| latency.max),
            "latency_std_us": of(|latency| latency.std),
            "latency_percentiles_us": percentiles,
            "interrupted": self.interrupted,
            "error": self.error,
        })
    }
}

/// To a thousandth.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// With a comma at every thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
