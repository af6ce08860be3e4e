//! A chat without a server: its members find each other, and hear each other, by multicast.
//!
//! `cargo run --release --features message --example message_chat -- --name Ann`
//!
//! A second one on the same machine, in another terminal, finds the first. With `--interface 0.0.0.0` it is for the
//! network.

#[path = "support/ending.rs"]
mod ending;
#[path = "support/tell.rs"]
mod tell;

use std::{
    error::Error,
    ffi::OsString,
    io::{self, BufRead, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    process::{self, ExitCode},
    rc::Rc,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::Duration,
};

use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};
use tell::tell;
use wakering::{
    CancellationToken, TrySendError, channel,
    message::{
        Builder, Group, HmacAuth, Incoming, Introduction, Kind, Layer, Message, PeerEvent, PeerRecord,
        StreamCipher, UdpNode, Value,
    },
    net::UdpSocket,
};

const HELP: &str = "\
message_chat: a chat without a server, by multicast

usage: message_chat [--name NAME] [--group IP:PORT] [--interface IP] [--secret S] [--key K]

--name NAME      who you are (default: the number of the process)
--group IP:PORT  the multicast group of the chat (default 239.255.88.88:8888)
--interface IP   the address of the network interface that it is on; 0.0.0.0 lets the system choose
                 (default 127.0.0.1: this machine only)
--secret S       hear only who signs with this secret, and sign
--key K          hear only who encrypts with this key, and encrypt
-h, --help       this text

What you type is sent line by line. Ctrl-C, SIGTERM and the end of the input end it.
";

/// What the members talk about.
const TOPIC: &str = "chat";
/// Octets of a name.
const NAME: usize = 255;
/// Lines that wait to be sent.
const LINES: usize = 64;
/// Lines that wait to be printed, while a terminal stands still; what comes beyond is dropped.
const UNPRINTED: usize = 1024;
/// How long the last lines have to be printed.
const LAST_LINES: Duration = Duration::from_secs(1);

struct Line {
    name: String,
    group: SocketAddrV4,
    interface: Ipv4Addr,
    secret: Option<OsString>,
    key: Option<OsString>,
}

fn main() -> ExitCode {
    let line = match parse(Parser::from_env()) {
        Ok(Some(line)) => line,
        Ok(None) => {
            return ExitCode::from(u8::from(io::stdout().write_all(HELP.as_bytes()).is_err()));
        }
        Err(error) => {
            tell!("message_chat: {}", error.to_string().replace('\n', " "));
            return ExitCode::from(2);
        }
    };
    match wakering::run(chat(&line)).map_err(Into::into).and_then(|outcome| outcome) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("message_chat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: Parser) -> Result<Option<Line>, lexopt::Error> {
    let mut line = Line {
        name: process::id().to_string(),
        group: SocketAddrV4::new(Ipv4Addr::new(239, 255, 88, 88), 8888),
        interface: Ipv4Addr::LOCALHOST,
        secret: None,
        key: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("name") => line.name = name(parser.value()?.string()?)?,
            Long("group") => line.group = parser.value()?.parse_with(group)?,
            Long("interface") => line.interface = parser.value()?.parse()?,
            Long("secret") => line.secret = Some(secret("--secret", parser.value()?)?),
            Long("key") => line.key = Some(secret("--key", parser.value()?)?),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(line))
}

/// One that everybody's line has room for, and what a node says of itself.
fn name(text: String) -> Result<String, lexopt::Error> {
    if text.len() > NAME { Err(format!("a name has {NAME} octets at most").into()) } else { Ok(text) }
}

fn group(text: &str) -> Result<SocketAddrV4, String> {
    let group: SocketAddrV4 = text.parse().map_err(|_| format!("`{text}` is no IP:PORT"))?;
    if !group.ip().is_multicast() || group.port() == 0 {
        return Err(format!("`{text}` is no multicast group (224.0.0.0 to 239.255.255.255) with a port"));
    }
    Ok(group)
}

/// What nobody can guess: an empty word is mostly a variable that is not set.
fn secret(name: &str, word: OsString) -> Result<OsString, lexopt::Error> {
    if word.is_empty() { Err(format!("{name} needs a secret, and was given none").into()) } else { Ok(word) }
}

async fn chat(line: &Line) -> Result<(), Box<dyn Error>> {
    let group = Group::v4(*line.group.ip(), line.group.port(), line.interface);
    let name = (Value::Str("name".into()), Value::Str(line.name.clone()));
    let screen = Screen::new();
    let (comings, talk) = (screen.clone(), screen.clone());
    let node = Builder::new()
        .layer(layer(line))
        .group(group)
        .introduce(Introduction::random().data(Value::Map(vec![name])).app(TOPIC))
        .on_peer(move |event| match event {
            PeerEvent::Discovered(peer) => comings.say(&format!("* {} is here", name_of(&peer))),
            PeerEvent::Lost(peer) => comings.say(&format!("* {} has left", name_of(&peer))),
            _ => {}
        })
        .on((Kind::NOTIFY_URI, TOPIC), move |incoming: Incoming| {
            let from = incoming.peer.record().map(|peer| name_of(&peer));
            let from = from.unwrap_or_else(|| incoming.peer.addr().to_string());
            talk.say(&format!("{from}: {}", String::from_utf8_lossy(&incoming.message.content)));
            async { None }
        })
        .node(UdpSocket::bind((line.interface, 0))?)?;
    let over = CancellationToken::new();
    wakering::spawn(send_lines(node.clone(), over.clone()));
    over.run_until_cancelled(ending::first_signal(SocketAddr::V4(line.group))).await.transpose()?;
    node.shutdown(Duration::from_secs(1)).await;
    screen.finish();
    Ok(())
}

fn layer(line: &Line) -> Layer {
    let mut layer = Layer::new();
    if let Some(secret) = &line.secret {
        layer = layer.auth(HmacAuth::new(secret.as_encoded_bytes()));
    }
    if let Some(key) = &line.key {
        layer = layer.cipher(StreamCipher::new(key.as_encoded_bytes()));
    }
    layer
}

/// Tells the group what is typed, until there is no more.
async fn send_lines(node: UdpNode, over: CancellationToken) {
    let _over = over.drop_guard();
    let (mut sender, mut receiver) = channel(LINES);
    // Reading may take for ever, and is no reason not to end: a thread of its own goes with the process.
    thread::spawn(move || {
        for mut line in io::stdin().lock().split(b'\n').map_while(Result::ok) {
            line.truncate(line.strip_suffix(b"\r").unwrap_or(&line).len());
            while let Err(TrySendError::Full(_)) = sender.try_send(line.clone()) {
                thread::sleep(Duration::from_millis(10));
            }
            if sender.is_closed() {
                return;
            }
        }
    });
    while let Some(line) = receiver.recv().await {
        if let Err(error) = node.multicast(Message::new(Kind::NOTIFY_URI, TOPIC, line)) {
            tell!("message_chat: {error}");
        }
    }
}

/// The name in what a peer says of itself; whatever it is, it is one line.
fn name_of(peer: &PeerRecord) -> String {
    let wanted = Value::Str("name".into());
    let Value::Map(pairs) = &peer.data else { return "somebody".to_owned() };
    match pairs.iter().find(|(name, _)| *name == wanted) {
        Some((_, Value::Str(name))) => name.clone(),
        _ => "somebody".to_owned(),
    }
}

/// Standard output, by a thread of its own: a terminal that stands still holds up nobody else.
#[derive(Clone)]
struct Screen {
    lines: SyncSender<Option<String>>,
    finished: Rc<Receiver<()>>,
}

impl Screen {
    fn new() -> Screen {
        let (lines, printed) = mpsc::sync_channel::<Option<String>>(UNPRINTED);
        let (tells, finished) = mpsc::sync_channel(1);
        thread::spawn(move || {
            while let Ok(Some(line)) = printed.recv() {
                // Nobody listens any more when this fails.
                let _ = writeln!(io::stdout(), "{line}");
            }
            let _ = tells.send(());
        });
        Screen { lines, finished: Rc::new(finished) }
    }

    /// Prints a line that somebody else has chosen: without what a terminal would obey.
    fn say(&self, line: &str) {
        let line: String = line.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        let _ = self.lines.try_send(Some(line));
    }

    /// Waits for the last line, unless the terminal stands still.
    fn finish(&self) {
        if self.lines.try_send(None).is_ok() {
            let _ = self.finished.recv_timeout(LAST_LINES);
        }
    }
}
