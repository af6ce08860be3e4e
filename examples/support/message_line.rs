//! The command lines of `message_server` and `message_client`.
// Each of the two uses its own half.
#![expect(dead_code, reason = "each example uses one of the two command lines")]

#[path = "values.rs"]
mod values;
#[path = "workers.rs"]
mod workers;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    net::SocketAddr,
    process,
    time::Duration,
};

use bytes::Bytes;
use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt,
};
use wakering::message::{Builder, HmacAuth, Kind, Layer, Session, StreamCipher};

use self::{
    values::{addresses, resolve, seconds},
    workers::workers,
};

use crate::tell::tell;

pub(crate) const SERVER_HELP: &str = "\
message_server: stores, echoes and publishes messages

usage: message_server [--addr HOST:PORT] [--secret S] [--key K] [--session S] [--udp] [--workers N]

--addr HOST:PORT  where to listen; port 0 lets the system choose (default 127.0.0.1:8888)
--secret S        take only messages that are signed with this secret, and sign all
--key K           take only messages that are encrypted with this key, uri and content, and encrypt all
--session S       seal everything in sessions with this secret, and take nothing else; not for netaio
--udp             messages are datagrams
--workers N       how many threads serve connections (default 1)
-h, --help        this text

Ctrl-C and SIGTERM end it, with what is being answered; a second signal ends it at once.
";

pub(crate) const CLIENT_HELP: &str = "\
message_client: asks a server of messages

usage: message_client [--addr HOST:PORT] [--secret S] [--key K] [--session S] [--udp] [--timeout SECONDS] [--reconnect] [--renew SECONDS] COMMAND

get URI                writes the content to standard output
new URI CONTENT        makes it
put URI CONTENT        changes it
del URI                removes it
sub URI [--count N]    writes what is published to standard output, N times (default: for ever)
pub URI CONTENT        publishes it

--addr HOST:PORT   the server (default 127.0.0.1:8888)
--secret S         sign messages with this secret, and take only those that are
--key K            encrypt messages with this key, uri and content, and take only those that are
--session S        seal everything in a session with this secret, and take nothing else; not for netaio
--udp              messages are datagrams; that nobody is there is known where the system tells (Linux: code 6, else 3)
--timeout SECONDS  how long connecting and an answer may take together (default 10)
--reconnect        try again when nobody is there, within the timeout; `sub` does so when its connection is lost, too, or when
                   subscribing anew has no answer in time
--renew SECONDS    how often `sub` subscribes anew, since nobody may tell that the server is gone, or was restarted (default 20)
-h, --help         this text

Content is written as it is; on a terminal a line's end follows. CONTENT that begins with a dash, and is no number, comes behind
a -- of its own: put -- URI -CONTENT.

codes: 0  done                    2  bad arguments        3  no answer in time
       4  not found               5  refused, or the server's authentication failed
       6  no connection
";

/// What the server is to do.
pub(crate) struct ServerLine {
    pub(crate) addr: SocketAddr,
    pub(crate) udp: bool,
    pub(crate) workers: usize,
    plugins: Plugins,
}

/// What the client is to do.
pub(crate) struct ClientLine {
    /// All that the name means, until one is found to be there.
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) addr: SocketAddr,
    pub(crate) udp: bool,
    pub(crate) timeout: Duration,
    pub(crate) reconnect: bool,
    pub(crate) command: Command,
    pub(crate) uri: Bytes,
    pub(crate) content: Bytes,
    pub(crate) count: Option<u64>,
    /// How often a node of datagrams is subscribed to anew.
    pub(crate) renew: Duration,
    plugins: Plugins,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Get,
    New,
    Put,
    Delete,
    Subscribe,
    Publish,
}

#[derive(Default)]
struct Plugins {
    secret: Option<OsString>,
    key: Option<OsString>,
    session: Option<OsString>,
}

/// Reads the command line. Help ends the process with code 0, a mistake with one line and code 2.
pub(crate) fn or_exit<T>(name: &str, help: &str, parse: fn(Parser) -> Result<Option<T>, lexopt::Error>) -> T {
    match parse(Parser::from_env()) {
        Ok(Some(line)) => line,
        Ok(None) => {
            process::exit(i32::from(io::stdout().write_all(help.as_bytes()).is_err()));
        }
        Err(error) => {
            tell!("{name}: {}", error.to_string().replace('\n', " "));
            process::exit(2);
        }
    }
}

impl ServerLine {
    pub(crate) fn parse(mut parser: Parser) -> Result<Option<ServerLine>, lexopt::Error> {
        let mut line =
            ServerLine { addr: default_addr(), udp: false, workers: 1, plugins: Plugins::default() };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("addr") => line.addr = parser.value()?.parse_with(resolve)?,
                Long("secret") => line.plugins.secret = Some(secret("--secret", parser.value()?)?),
                Long("key") => line.plugins.key = Some(secret("--key", parser.value()?)?),
                Long("session") => line.plugins.session = Some(secret("--session", parser.value()?)?),
                Long("udp") => line.udp = true,
                Long("workers") => line.workers = parser.value()?.parse_with(workers)?,
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        if line.udp && line.workers > 1 {
            return Err("datagrams are received by one worker: --workers is for connections".into());
        }
        Ok(Some(line))
    }

    /// What a node is that is protected as the line says.
    pub(crate) fn builder(&self) -> Builder {
        self.plugins.builder()
    }
}

fn is_below_zero(word: &OsStr) -> bool {
    matches!(word.as_encoded_bytes(), [b'-', b'0'..=b'9' | b'.', ..])
}

impl ClientLine {
    pub(crate) fn parse(mut parser: Parser) -> Result<Option<ClientLine>, lexopt::Error> {
        let mut line = ClientLine {
            addrs: vec![default_addr()],
            addr: default_addr(),
            udp: false,
            timeout: Duration::from_secs(10),
            reconnect: false,
            command: Command::Get,
            uri: Bytes::new(),
            content: Bytes::new(),
            count: None,
            renew: Duration::from_secs(20),
            plugins: Plugins::default(),
        };
        let mut words = Vec::new();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("addr") => line.addrs = parser.value()?.parse_with(addresses)?,
                Long("secret") => line.plugins.secret = Some(secret("--secret", parser.value()?)?),
                Long("key") => line.plugins.key = Some(secret("--key", parser.value()?)?),
                Long("session") => line.plugins.session = Some(secret("--session", parser.value()?)?),
                Long("udp") => line.udp = true,
                Long("timeout") => line.timeout = parser.value()?.parse_with(seconds)?,
                Long("reconnect") => line.reconnect = true,
                Long("renew") => line.renew = parser.value()?.parse_with(seconds)?,
                Long("count") => line.count = Some(parser.value()?.parse_with(count)?),
                Long("help") | Short('h') => return Ok(None),
                Value(word) => {
                    words.push(octets(word));
                    let content = parser.try_raw_args().filter(|_| words.len() == 2);
                    // A number below zero is no option.
                    words.extend(content.and_then(|mut it| it.next_if(is_below_zero)).map(octets));
                }
                _ => return Err(argument.unexpected()),
            }
        }
        line.take(words)?;
        // Of datagrams nothing tells who is there, and the package speaks IPv4 only.
        let first = line.addrs.iter().find(|addr| line.udp && addr.is_ipv4()).or(line.addrs.first());
        line.addr = *first.expect("a name that is found has an address");
        Ok(Some(line))
    }

    fn take(&mut self, words: Vec<Bytes>) -> Result<(), lexopt::Error> {
        let mut words = words.into_iter();
        let name = words.next().ok_or("a command is missing: get, new, put, del, sub or pub")?;
        self.command = match &name[..] {
            b"get" => Command::Get,
            b"new" => Command::New,
            b"put" => Command::Put,
            b"del" => Command::Delete,
            b"sub" => Command::Subscribe,
            b"pub" => Command::Publish,
            other => return Err(format!("`{}` is no command", String::from_utf8_lossy(other)).into()),
        };
        self.uri = words.next().ok_or("the uri is missing")?;
        if self.command.has_content() {
            self.content = words.next().ok_or("the content is missing")?;
        }
        if let Some(word) = words.next() {
            return Err(format!("`{}` is one argument too many", String::from_utf8_lossy(&word)).into());
        }
        if self.count.is_some() && self.command != Command::Subscribe {
            return Err("--count is for `sub`".into());
        }
        Ok(())
    }

    /// What a node is that is protected as the line says.
    pub(crate) fn builder(&self) -> Builder {
        self.plugins.builder()
    }
}

impl Command {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Command::Get => Kind::REQUEST_URI,
            Command::New => Kind::CREATE_URI,
            Command::Put => Kind::UPDATE_URI,
            Command::Delete => Kind::DELETE_URI,
            Command::Subscribe => Kind::SUBSCRIBE_URI,
            Command::Publish => Kind::PUBLISH_URI,
        }
    }

    fn has_content(self) -> bool {
        match self {
            Command::New | Command::Put | Command::Publish => true,
            Command::Get | Command::Delete | Command::Subscribe => false,
        }
    }
}

impl Plugins {
    fn builder(&self) -> Builder {
        let mut layer = Layer::new();
        if let Some(secret) = &self.secret {
            layer = layer.auth(HmacAuth::new(secret.as_encoded_bytes()));
        }
        if let Some(key) = &self.key {
            layer = layer.cipher(StreamCipher::new(key.as_encoded_bytes()));
        }
        let builder = Builder::new().layer(layer);
        match &self.session {
            Some(secret) => builder.session(Session::new(secret.as_encoded_bytes()).require(true)),
            None => builder,
        }
    }
}

fn default_addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8888))
}

/// On Unix an argument is octets, and those are what is sent.
fn octets(word: OsString) -> Bytes {
    word.into_encoded_bytes().into()
}

/// What nobody can guess: an empty word is mostly a variable that is not set.
fn secret(name: &str, word: OsString) -> Result<OsString, lexopt::Error> {
    if word.is_empty() { Err(format!("{name} needs a secret, and was given none").into()) } else { Ok(word) }
}

fn count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err(format!("`{text}` is no number from 1")),
    }
}
