//! Examples of ours that foreign clients ask, and the rows that come of it.

use std::ffi::OsString;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Ran;
use super::peer::{Peer, Role, Row, installed, locked_version, script, stop, version_of};
use super::server::Server;

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(150);

/// An example of ours with the row of the running test, which a client program is about to use.
pub(crate) struct Served {
    pub(crate) server: Server,
    _row: Row,
}

impl Served {
    /// Starts `h2_server`; `None` after a word if the client is not installed.
    pub(crate) fn to(client: &'static str, arguments: &[&str]) -> Option<Served> {
        Served::as_peer(client, client, arguments)
    }

    /// The same where the table has the client under the name of `peer`, by what it speaks.
    pub(crate) fn as_peer(client: &'static str, peer: &'static str, arguments: &[&str]) -> Option<Served> {
        Served::by("h2_server", client, peer, arguments)
    }

    /// The same by another example.
    pub(crate) fn by(
        example: &str,
        client: &'static str,
        peer: &'static str,
        arguments: &[&str],
    ) -> Option<Served> {
        let program = installed(client, peer, Role::Client)?;
        let version = version_of(&program, &[if client == "ab" { "-V" } else { "--version" }]);
        let version = version.split(" (").next().unwrap_or_default().to_owned();
        Some(Served::to_version(example, peer, version, arguments))
    }

    /// The same for a client that is a crate.
    pub(crate) fn to_crate(name: &'static str) -> Served {
        Served::to_version("h2_server", name, locked_version(name), &[])
    }

    fn to_version(example: &str, peer: &'static str, version: String, arguments: &[&str]) -> Served {
        let row = Row::of_test(peer, Role::Client, version);
        Served { server: Server::start(example, arguments), _row: row }
    }
}

impl Deref for Served {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// Has a program that reports its checks served to the end of its report and of the server, which is told to stop when the
/// program waits for that.
pub(crate) fn followed(peer: &'static str, server: Server, program: &Path, line: &[OsString]) {
    let mut stopping = false;
    Peer::start(Row::new(peer, Role::Client), program, line).follow(LIMIT, || {
        stop(&server);
        stopping = true;
    });
    if !stopping {
        stop(&server);
    }
    let (status, _, errors) = server.wait(Duration::from_secs(60));
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

/// The command line of a program in `tests/interop/`, but for the server's address.
pub(crate) fn line(program: &str, options: &[&str]) -> Vec<OsString> {
    [script(program).into()].into_iter().chain(options.iter().map(OsString::from)).collect()
}

/// Java, where its compiler is there too: then a source is run as it is.
pub(crate) fn java(peer: &'static str) -> Option<PathBuf> {
    let java = installed("java", peer, Role::Client)?;
    installed("javac", peer, Role::Client).map(|_| java)
}

/// ab completed so many requests, of which it counts so many as kept alive.
pub(crate) fn judge_ab(ran: &Ran, requests: u32, kept: u32) {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let line = |name: &str| {
        let found = ran.stdout.lines().find_map(|line| line.strip_prefix(name));
        found.map_or(0, |count| count.trim().parse().expect("a number"))
    };
    assert_eq!((line("Complete requests:"), line("Failed requests:")), (requests, 0), "{}", ran.stdout);
    assert_eq!((line("Keep-Alive requests:"), line("Non-2xx responses:")), (kept, 0), "{}", ran.stdout);
}
