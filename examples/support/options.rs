//! The command line of the server examples, and the code that they end with.

use std::{
    error::Error,
    ffi::OsString,
    net::{SocketAddr, ToSocketAddrs},
    process::{self, ExitCode},
    time::Duration,
};

use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};

/// The arguments of every server example.
pub(crate) struct Options {
    pub(crate) addr: SocketAddr,
    pub(crate) workers: usize,
    /// How long connections may go on after the first signal.
    pub(crate) grace: Duration,
}

/// What an example says about itself.
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) addr: &'static str,
    /// Switches of its own, if it has some.
    pub(crate) switch: Option<Switches>,
}

/// Switches that one example has.
#[derive(Clone, Copy)]
pub(crate) struct Switches {
    /// For the line of usage.
    pub(crate) short: &'static str,
    /// A line for each.
    pub(crate) long: &'static str,
    /// Takes the switch of this name, and its value if it has one; false if it is none of these.
    pub(crate) take: fn(&str, &mut Parser) -> Result<bool, lexopt::Error>,
}

impl About {
    /// Reads the command line. Help ends the process with code 0, a mistake with one line and code 2.
    pub(crate) fn options(&self) -> Options {
        match self.parse(std::env::args_os()) {
            Ok(Some(options)) => options,
            Ok(None) => {
                print!("{}", self.help());
                process::exit(0);
            }
            Err(error) => {
                eprintln!("{}: {}", self.name, error.to_string().replace('\n', " "));
                process::exit(2);
            }
        }
    }

    fn parse(&self, line: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, lexopt::Error> {
        let mut options = Options { addr: resolve(self.addr)?, workers: 1, grace: Duration::from_secs(5) };
        let mut parser = Parser::from_iter(line);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("addr") => options.addr = parser.value()?.parse_with(resolve)?,
                Long("workers") => options.workers = parser.value()?.parse_with(workers)?,
                Long("grace") => options.grace = parser.value()?.parse_with(grace)?,
                Long("help") | Short('h') => return Ok(None),
                Long(name) => {
                    let name = name.to_owned();
                    let taken = self.switch.map_or(Ok(false), |more| (more.take)(&name, &mut parser))?;
                    if !taken {
                        return Err(Long(&name).unexpected());
                    }
                }
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Some(options))
    }

    fn help(&self) -> String {
        let (short, long) = self.switch.map_or(("", ""), |more| (more.short, more.long));
        format!(
            "{}: {}\n\n\
             usage: {} [--addr HOST:PORT] [--workers N] [--grace SECONDS]{short}\n\n\
             --addr HOST:PORT  where to listen; port 0 lets the system choose (default {})\n\
             --workers N       how many threads serve (default 1)\n\
             --grace SECONDS   how long connections may go on after Ctrl-C or SIGTERM (default 5);\n\
             \x20                 a second signal ends the process at once\n\
             {long}\
             --help            this text\n",
            self.name, self.what, self.name, self.addr
        )
    }
}

/// The code of a process whose service ended so; an error is told in one line.
pub(crate) fn code(name: &str, outcome: Result<(), Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("`{text}` is no HOST:PORT: {error}"))?;
    found.next().ok_or_else(|| format!("`{text}` has no address"))
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers @ 1..=1024) => Ok(workers),
        _ => Err(format!("`{text}` is no number of workers from 1 to 1024")),
    }
}

fn grace(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no number of seconds"))
}
