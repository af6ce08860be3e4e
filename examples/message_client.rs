//! Asks servers of messages: `message_server`, and those on the Python package netaio.
//!
//! `cargo run --release --features message --example message_client -- --addr 127.0.0.1:8888 get echo`

#[path = "support/message_line.rs"]
mod message_line;
#[path = "support/tell.rs"]
mod tell;

use std::{
    cell::Cell,
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use message_line::{ClientLine, Command};
use tell::tell;
use wakering::{
    CancellationToken,
    message::{
        Builder, Client, Incoming, Kind, LinkEnd, Message, Peer, PluginError, Reconnect, Remote,
        RequestError, SendError, UdpNode,
    },
    net::{TcpConnector, UdpSocket},
    time::{sleep, timeout},
};

/// Between two attempts to reach a node of datagrams.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is asked within the timeout what may be asked twice.
const TRIES: u32 = 3;
/// How often connecting is tried within the timeout, at least.
const ATTEMPTS: u32 = 4;

/// Why it did not do what it was to do, and with which code it ends.
enum Failure {
    TimedOut(String),
    NotFound(String),
    Refused(String),
    /// What is to be sent is longer than may be.
    TooLong(String),
    NoConnection(String),
    /// Standard output is gone, or the runtime cannot be had.
    Other(String),
}

fn main() -> ExitCode {
    let mut line = message_line::or_exit("message_client", message_line::CLIENT_HELP, ClientLine::parse);
    let done = wakering::run(run(&mut line)).unwrap_or_else(|error| Err(Failure::Other(error.to_string())));
    let Err(failure) = done else { return ExitCode::SUCCESS };
    let (code, text) = match failure {
        Failure::Other(text) => (1, text),
        Failure::TooLong(text) => (2, text),
        Failure::TimedOut(text) => (3, text),
        Failure::NotFound(text) => (4, text),
        Failure::Refused(text) => (5, text),
        Failure::NoConnection(text) => (6, text),
    };
    tell!("message_client: {}", shown(&text));
    ExitCode::from(code)
}

async fn run(line: &mut ClientLine) -> Result<(), Failure> {
    find(line).await;
    let line = &*line;
    if line.command == Command::Subscribe {
        return subscribe(line).await;
    }
    let server = Asked::new(line, builder(line))?;
    let answer = ask(line, &server).await?;
    if line.command == Command::Get {
        put_out(&answer.content).map_err(|error| unwritten(&error))?;
    }
    server.close().await;
    Ok(())
}

/// Where a name has several addresses: the first that takes a connection, whether or not the others answer.
async fn find(line: &mut ClientLine) {
    if !line.udp && line.addrs.len() > 1 {
        let began = Instant::now();
        let connector = TcpConnector::new().happy_eyeballs(true);
        if let Ok(Ok(stream)) = timeout(line.timeout, connector.connect(&line.addrs[..])).await {
            line.addr = stream.peer_addr().unwrap_or(line.addr);
        }
        line.timeout = line.timeout.saturating_sub(began.elapsed());
    }
}

/// The server, by what it is asked.
enum Asked {
    Connection(Client, Remote),
    Datagrams(UdpNode, Peer),
}

impl Asked {
    fn new(line: &ClientLine, builder: Builder) -> Result<Asked, Failure> {
        if !line.udp {
            let client = client(line, builder);
            let remote = client.remote(line.addr);
            return Ok(Asked::Connection(client, remote));
        }
        let any: IpAddr =
            if line.addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let node = UdpSocket::bind((any, 0)).and_then(|socket| builder.node(socket));
        let node = node.map_err(|error| Failure::NoConnection(error.to_string()))?;
        let peer = node.peer(line.addr);
        Ok(Asked::Datagrams(node, peer))
    }

    async fn request(&self, line: &ClientLine) -> Result<Message, RequestError> {
        let (kind, uri, content) = (line.command.kind(), line.uri.clone(), line.content.clone());
        match self {
            Asked::Connection(_, remote) if line.reconnect && is_safe_twice(line) => {
                patiently(line, async || remote.request(kind, uri.clone(), content.clone()).await).await
            }
            Asked::Connection(_, remote) => remote.request(kind, uri, content).await,
            Asked::Datagrams(_, peer) if line.reconnect || may_be_lost(line) => {
                let patience = if may_be_lost(line) { line.timeout / TRIES } else { line.timeout };
                let peer = peer.clone().timeout(patience);
                patiently(line, async || peer.request(kind, uri.clone(), content.clone()).await).await
            }
            Asked::Datagrams(_, peer) => peer.request(kind, uri, content).await,
        }
    }

    /// Whether there is somebody to wait for, as far as can be known.
    fn is_there(&self) -> bool {
        match self {
            Asked::Connection(_, remote) => remote.peer().is_some(),
            Asked::Datagrams(..) => true,
        }
    }

    /// Why there is nobody, as far as the last attempt to connect has told.
    fn absence(&self) -> String {
        match self {
            Asked::Connection(_, remote) => {
                remote.connect_error().map_or_else(String::new, |error| format!(": {error}"))
            }
            Asked::Datagrams(..) => String::new(),
        }
    }

    /// Waits until it may have forgotten its subscribers; why it has, if that is known.
    async fn forgets(&self, line: &ClientLine) -> Option<LinkEnd> {
        match self {
            // One that has gone without a word, or whose messages are not to be trusted any more, is found out by asking.
            Asked::Connection(_, remote) => timeout(line.renew, remote.ended()).await.ok(),
            Asked::Datagrams(..) => {
                sleep(line.renew).await;
                None
            }
        }
    }

    /// Has the next request made by another connection: this one leads nowhere, though nothing has ended it.
    fn give_up_connection(&mut self) {
        if let Asked::Connection(client, remote) = self {
            *remote = client.remote(remote.addr());
        }
    }

    async fn close(&self) {
        match self {
            Asked::Connection(_, remote) => remote.close().await,
            Asked::Datagrams(node, _) => {
                node.shutdown(Duration::ZERO).await;
            }
        }
    }
}

/// Whether asking twice does no harm, so that what was cut off may be asked anew.
fn is_safe_twice(line: &ClientLine) -> bool {
    matches!(line.command, Command::Get | Command::Subscribe)
}

/// Whether what has no answer soon is asked again, since a datagram may have been lost.
fn may_be_lost(line: &ClientLine) -> bool {
    line.udp && line.command == Command::Subscribe
}

/// Asks as long as there is time: again while there is nobody, if it is to reconnect, and again what may have been lost.
async fn patiently(
    line: &ClientLine,
    ask: impl AsyncFn() -> Result<Message, RequestError>,
) -> Result<Message, RequestError> {
    let mut last = RequestError::TimedOut;
    let asked = async {
        loop {
            match ask().await {
                Err(error) if line.reconnect && error.is_closed() => last = error,
                Err(error) if may_be_lost(line) && error.is_timeout() => last = error,
                other => return other,
            }
            sleep(PAUSE).await;
        }
    };
    let answered = timeout(line.timeout, asked).await;
    answered.unwrap_or(Err(last))
}

fn builder(line: &ClientLine) -> Builder {
    line.builder().request_timeout(line.timeout)
}

fn client(line: &ClientLine, builder: Builder) -> Client {
    if !line.reconnect {
        return builder.client();
    }
    let mut policy = Reconnect::default();
    // A longer pause would leave no time for what comes behind it.
    policy.most_pause = (line.timeout / ATTEMPTS).clamp(policy.least_pause, policy.most_pause);
    builder.reconnect(policy).client()
}

/// Asks what the command line says, and judges the answer.
async fn ask(line: &ClientLine, server: &Asked) -> Result<Message, Failure> {
    let answer = server.request(line).await.map_err(|error| failure(&error, line, server))?;
    let text = || format!("{}: {}", answer.kind, String::from_utf8_lossy(&answer.content));
    match answer.kind {
        Kind::NOT_FOUND => Err(Failure::NotFound(text())),
        Kind::NOT_PERMITTED | Kind::AUTH_ERROR | Kind::ERROR => Err(Failure::Refused(text())),
        // The number alone says that it is the answer: a server with another key has read another uri.
        _ if answer.uri != line.uri => Err(Failure::Refused(format!(
            "{}: the answer is about another uri: do the keys differ?",
            line.addr
        ))),
        kind if !answers(line.command, kind) => {
            Err(Failure::Refused(format!("{}: {kind} does not answer what was asked", line.addr)))
        }
        _ => Ok(answer),
    }
}

/// Whether what was asked has been done when it is answered by that.
fn answers(command: Command, kind: Kind) -> bool {
    let own = match command {
        Command::Get => Kind::RESPOND_URI,
        Command::Subscribe => Kind::CONFIRM_SUBSCRIBE,
        Command::New | Command::Put | Command::Delete | Command::Publish => Kind::OK,
    };
    kind == own || kind == Kind::OK
}

/// What somebody else may have chosen: without what a terminal would obey.
fn shown(text: &str) -> String {
    let shown = |it: char| if it.is_control() { it.escape_debug().to_string() } else { it.to_string() };
    text.chars().map(shown).collect()
}

fn failure(error: &RequestError, line: &ClientLine, server: &Asked) -> Failure {
    let text = format!("{}: {error}", line.addr);
    match error {
        // As long as there is no connection, it is that which took too long.
        _ if error.is_timeout() && !server.is_there() => {
            let absence = server.absence();
            Failure::NoConnection(format!("{}: cannot connect in time{absence}", line.addr))
        }
        _ if error.is_timeout() => Failure::TimedOut(text),
        RequestError::Connect(_)
        | RequestError::Lost(_)
        | RequestError::Unsent(_)
        | RequestError::Send(SendError::Closed | SendError::System(_)) => Failure::NoConnection(text),
        RequestError::Send(
            SendError::Encode(_) | SendError::Datagram { .. } | SendError::Plugin(PluginError::TooLong(_)),
        ) => Failure::TooLong(text),
        _ => Failure::Refused(text),
    }
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::Other(format!("standard output: {error}"))
}

/// Writes what is published until there was enough of it.
async fn subscribe(line: &ClientLine) -> Result<(), Failure> {
    let (enough, left) = (CancellationToken::new(), Rc::new(Cell::new(line.count)));
    let (done, written) = (enough.clone(), Rc::new(Cell::new(Ok(()))));
    let outcome = written.clone();
    let notified = move |incoming: Incoming| {
        if left.get() != Some(0) && !done.is_cancelled() {
            let put = put_out(&incoming.message.content);
            left.set(left.get().map(|left| left.saturating_sub(1)));
            if left.get() == Some(0) || put.is_err() {
                outcome.set(put);
                done.cancel();
            }
        }
        async { None }
    };
    let builder = builder(line).on((Kind::NOTIFY_URI, line.uri.clone()), notified);
    let mut server = Asked::new(line, builder)?;
    if let Some(failed) = enough.run_until_cancelled(stay_subscribed(line, &mut server)).await {
        return failed;
    }
    server.close().await;
    match written.replace(Ok(())) {
        // Who reads it has had enough, too.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Subscribes whenever the server may have forgotten it, until that fails.
async fn stay_subscribed(line: &ClientLine, server: &mut Asked) -> Result<(), Failure> {
    let mut is_known = false;
    loop {
        match ask(line, server).await {
            // It was restarted, and knows no session any more: the next request makes one.
            Err(Failure::Refused(_)) if is_known && line.reconnect => {
                is_known = false;
                continue;
            }
            Err(Failure::TimedOut(text)) if is_known && line.reconnect => {
                tell!("message_client: {}: it is asked anew", shown(&text));
                is_known = false;
                server.give_up_connection();
                continue;
            }
            asked => _ = asked?,
        }
        is_known = true;
        let Some(end) = server.forgets(line).await else { continue };
        tell!("message_client: {}", shown(&format!("{}: {end}", line.addr)));
        if !line.reconnect {
            return Err(Failure::NoConnection("the subscription is lost".to_owned()));
        }
    }
}

/// Content as it is; for a person, a line of its own.
fn put_out(content: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(content)?;
    if out.is_terminal() {
        out.write_all(b"\n")?;
    }
    out.flush()
}
