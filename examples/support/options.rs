//! The command line of the server examples, and the code that they end with.

#[path = "values.rs"]
mod values;
#[path = "workers.rs"]
mod workers;

use std::{
    error::Error,
    ffi::OsString,
    io::{self, Write},
    net::SocketAddr,
    process::{self, ExitCode},
    time::Duration,
};

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt,
};

pub(crate) use self::values::seconds;
use self::{values::resolve, workers::workers};

use crate::tell::tell;

/// The arguments of every server example, and those of its own.
pub(crate) struct Options<S = ()> {
    pub(crate) addr: SocketAddr,
    pub(crate) workers: usize,
    /// How long connections may go on after the first signal.
    pub(crate) grace: Duration,
    pub(crate) more: S,
}

/// What an example says about itself.
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) addr: &'static str,
}

/// Switches beside those of every server; a pair of such is another.
pub(crate) trait Switches: Default {
    /// The line of usage, behind the name.
    const USAGE: &'static str = "[options]";
    /// The default for `--grace`, in seconds.
    const GRACE: u64 = 5;

    /// Each switch with its value, and what it does; several lines where there is more to say.
    fn help() -> Vec<(&'static str, &'static str)>;

    /// Takes the switch of this name, and its value if it has one; false if it is none of these.
    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, lexopt::Error>;

    /// Takes what is no switch.
    fn argument(&mut self, argument: OsString) -> Result<(), lexopt::Error> {
        Err(Value(argument).unexpected())
    }

    /// Says what is missing, when all has been taken.
    fn check(&self) -> Result<(), lexopt::Error> {
        Ok(())
    }
}

impl Switches for () {
    fn help() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    fn take(&mut self, _: &str, _: &mut Parser) -> Result<bool, lexopt::Error> {
        Ok(false)
    }
}

/// The first has the say about usage and arguments.
impl<A: Switches, B: Switches> Switches for (A, B) {
    const USAGE: &'static str = A::USAGE;
    const GRACE: u64 = if A::GRACE > B::GRACE { A::GRACE } else { B::GRACE };

    fn help() -> Vec<(&'static str, &'static str)> {
        [A::help(), B::help()].concat()
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, lexopt::Error> {
        Ok(self.0.take(name, parser)? || self.1.take(name, parser)?)
    }

    fn argument(&mut self, argument: OsString) -> Result<(), lexopt::Error> {
        self.0.argument(argument)
    }

    fn check(&self) -> Result<(), lexopt::Error> {
        self.0.check()?;
        self.1.check()
    }
}

impl About {
    /// Reads the command line. Help ends the process with code 0, a mistake with one line and code 2.
    pub(crate) fn options<S: Switches>(&self) -> Options<S> {
        match self.parse(std::env::args_os()) {
            Ok(Some(options)) => options,
            Ok(None) => {
                let told = io::stdout().write_all(self.help::<S>().as_bytes());
                process::exit(i32::from(told.is_err()));
            }
            Err(error) => {
                tell!("{}: {}", self.name, error.to_string().replace('\n', " "));
                process::exit(2);
            }
        }
    }

    fn parse<S: Switches>(
        &self,
        line: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Options<S>>, lexopt::Error> {
        let grace = Duration::from_secs(S::GRACE);
        let mut options = Options { addr: resolve(self.addr)?, workers: 1, grace, more: S::default() };
        let mut parser = Parser::from_iter(line);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("addr") => options.addr = parser.value()?.parse_with(resolve)?,
                Long("workers") => options.workers = parser.value()?.parse_with(workers)?,
                Long("grace") => options.grace = parser.value()?.parse_with(seconds)?,
                Long("help") | Short('h') => return Ok(None),
                Long(name) => {
                    let name = name.to_owned();
                    if !options.more.take(&name, &mut parser)? {
                        return Err(Long(&name).unexpected());
                    }
                }
                Value(argument) => options.more.argument(argument)?,
                Short(_) => return Err(argument.unexpected()),
            }
        }
        options.more.check()?;
        Ok(Some(options))
    }

    fn help<S: Switches>(&self) -> String {
        let addr = format!("where to listen; port 0 lets the system choose (default {})", self.addr);
        let grace = format!(
            "how long connections may go on after Ctrl-C or SIGTERM (default {});\n\
             a second signal ends the process at once",
            S::GRACE
        );
        let mut lines = S::help();
        lines.extend([
            ("--addr HOST:PORT", addr.as_str()),
            ("--workers N", "how many threads serve (default 1)"),
            ("--grace SECONDS", grace.as_str()),
            ("--help", "this text"),
        ]);
        let width = lines.iter().map(|(switch, _)| switch.len()).max().unwrap_or(0);
        let mut text = format!("{}: {}\n\nusage: {} {}\n\n", self.name, self.what, self.name, S::USAGE);
        for (switch, what) in lines {
            let what = what.replace('\n', &format!("\n{:width$}  ", ""));
            text.push_str(&format!("{switch:width$}  {what}\n"));
        }
        text
    }
}

/// The code of a process whose service ended so; an error is told in one line.
pub(crate) fn code(name: &str, outcome: Result<(), Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
