//! Command lines of the form `--name VALUE` and `--flag`, the same for every program here.
//!
//! A program names what it knows; anything else ends it with one line on standard error and code 2.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::process::exit;
use std::str::FromStr;

/// The parsed command line.
pub struct Arguments {
    values: HashMap<String, String>,
    flags: Vec<String>,
}

impl Arguments {
    /// Reads the process's command line: `valued` options take the next word, `flags` stand alone.
    pub fn read(valued: &[&str], flags: &[&str]) -> Arguments {
        let mut parsed = Arguments { values: HashMap::new(), flags: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").unwrap_or_default();
            if valued.contains(&name) {
                let value = words.next().unwrap_or_else(|| refuse(format!("{word} needs a value")));
                parsed.values.insert(name.to_owned(), value);
            } else if flags.contains(&name) {
                parsed.flags.push(name.to_owned());
            } else {
                refuse(format!("unknown argument {word}"));
            }
        }
        parsed
    }

    /// Tells whether `--name` was given.
    pub fn flag(&self, name: &str) -> bool {
        self.flags.iter().any(|flag| flag == name)
    }

    /// The value of `--name`, or `default` when it was not given.
    pub fn value<T: FromStr>(&self, name: &str, default: T) -> T {
        let Some(text) = self.values.get(name) else { return default };
        text.parse().unwrap_or_else(|_| refuse(format!("--{name}: bad value {text}")))
    }

    /// The value of `--addr`, a loopback address with a port of the system's choice by default.
    pub fn addr(&self) -> SocketAddr {
        self.value("addr", SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// Prints the one line that a driver waits for before it sends load.
pub fn announce(addr: SocketAddr) {
    println!("listening on {addr}");
}

/// Waits for the line that a driver sends when the load is to begin, or to end.
pub fn wait_for_driver() -> io::Result<()> {
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

fn refuse(why: impl Display) -> ! {
    eprintln!("{why}");
    exit(2)
}
