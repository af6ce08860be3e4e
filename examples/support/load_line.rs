//! The command line of `echo_load`.

#[path = "values.rs"]
mod values;

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};

use self::values::{addresses, resolve, seconds};

pub(crate) const HELP: &str = "\
echo_load: loads a TCP echo server, and checks every byte that comes back

usage: echo_load [--addr HOST:PORT] [--duration SECONDS] [--concurrency CONNECTIONS] [--msize BYTES]
                 [--mpr MESSAGES] [--timeout SECONDS] [--warm-up SECONDS] [--output text|json]

--addr HOST:PORT           the server (default 127.0.0.1:7000)
--duration SECONDS         how long rounds are begun (default 10); rounds under way are finished
--concurrency CONNECTIONS  how many connections make rounds at the same time (default 64)
--msize BYTES              the size of a message (default 1024)
--mpr MESSAGES             messages per round: all are sent before their echoes are awaited (default 1)
--timeout SECONDS          how long connecting, and a round, may take (default 5); to connect all, with a first round of
                           each, twice as long
--warm-up SECONDS          how long rounds are made before the measured ones (default 0); every connection
                           makes at least one
--output text|json         what the report on standard output is (default text)
-h, --help                 this text

A round of a connection: MESSAGES x BYTES are written in as few calls as the socket takes, while what comes
back is read. Its latency lasts from before the first write until the last byte is back. The bytes differ from
connection to connection and from message to message, so that lost, doubled, swapped and strange ones are all
found. Progress goes to standard error, a line a second. Ctrl-C ends the run early, with its report.

One thread makes the load. Where it takes a whole core, it measures itself: give it a core of its own, and
compare the processor time of the servers rather than messages a second.

JSON: one object on one line. addr; duration_s (measured, to the end of the last round); concurrency; msize;
mpr; messages and rounds (finished and right); bytes (payload, one way); req_per_s (messages a second);
mib_per_s (payload, one way, in 2^20 bytes); latency_min_us, latency_mean_us, latency_max_us, latency_std_us and
latency_percentiles_us, whose keys are \"50\", \"75\", \"90\", \"95\", \"99\" (of a round, in microseconds; percentiles to
0.4 %; all null without a round); interrupted (by Ctrl-C); error (null, or why the run failed).

codes: 0  every byte was right        1  a wrong byte, a timeout, a closed connection, or no connection
       2  bad arguments             130  a signal came before the measured rounds, or a second one
";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) struct LoadLine {
    /// As it was given, and all that it means.
    pub(crate) addr: String,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) duration: Duration,
    pub(crate) concurrency: usize,
    pub(crate) msize: usize,
    pub(crate) mpr: usize,
    pub(crate) timeout: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Text,
    Json,
}

impl LoadLine {
    /// Reads the command line; `None` when help is asked for.
    pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, lexopt::Error> {
        let mut all = LoadLine {
            addr: "127.0.0.1:7000".to_owned(),
            addrs: vec![resolve("127.0.0.1:7000")?],
            duration: Duration::from_secs(10),
            concurrency: 64,
            msize: 1024,
            mpr: 1,
            timeout: Duration::from_secs(5),
            warm_up: Duration::ZERO,
            output: Output::Text,
        };
        let mut parser = Parser::from_iter(line);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("addr") => {
                    all.addr = parser.value()?.string()?;
                    all.addrs = addresses(&all.addr)?;
                }
                Long("duration") => all.duration = parser.value()?.parse_with(positive)?,
                Long("concurrency") => all.concurrency = parser.value()?.parse_with(count)?,
                Long("msize") => all.msize = parser.value()?.parse_with(count)?,
                Long("mpr") => all.mpr = parser.value()?.parse_with(count)?,
                Long("timeout") => all.timeout = parser.value()?.parse_with(positive)?,
                Long("warm-up") => all.warm_up = parser.value()?.parse_with(seconds)?,
                Long("output") => all.output = parser.value()?.parse_with(output)?,
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        if all.msize.checked_mul(all.mpr).is_none_or(|round| round > isize::MAX as usize) {
            return Err(format!("a round of {} messages of {} bytes is too long", all.mpr, all.msize).into());
        }
        Ok(Some(all))
    }

    /// The bytes of a round.
    pub(crate) fn round(&self) -> usize {
        self.msize * self.mpr
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err(format!("`{text}` is no number from 1")),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err(format!("`{text}` is no time: more than 0 seconds are needed")),
        duration => Ok(duration),
    }
}

fn output(text: &str) -> Result<Output, String> {
    match text {
        "text" => Ok(Output::Text),
        "json" => Ok(Output::Json),
        _ => Err(format!("`{text}` is neither `text` nor `json`")),
    }
}
