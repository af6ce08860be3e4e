//! Asks servers of messages: `message_server`, and those on the Python package netaio.
//!
//! `cargo run --release --features message --example message_client -- --addr 127.0.0.1:8888 get echo`

#[path = "support/message_line.rs"]
mod message_line;

use std::{
    cell::Cell,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    rc::Rc,
};

use message_line::{ClientLine, Command};
use wakering::{
    CancellationToken,
    message::{Builder, Client, Incoming, Kind, Message, Reconnect, Remote, RequestError, SendError},
};

/// Why it did not do what it was to do, and with which code it ends.
enum Failure {
    TimedOut(String),
    NotFound(String),
    Refused(String),
    NoConnection(String),
    /// Standard output is gone, or the runtime cannot be had.
    Other(String),
}

fn main() -> ExitCode {
    let line = message_line::or_exit("message_client", message_line::CLIENT_HELP, ClientLine::parse);
    let done = wakering::run(run(&line)).unwrap_or_else(|error| Err(Failure::Other(error.to_string())));
    let Err(failure) = done else { return ExitCode::SUCCESS };
    let (code, text) = match failure {
        Failure::Other(text) => (1, text),
        Failure::TimedOut(text) => (3, text),
        Failure::NotFound(text) => (4, text),
        Failure::Refused(text) => (5, text),
        Failure::NoConnection(text) => (6, text),
    };
    eprintln!("message_client: {text}");
    ExitCode::from(code)
}

async fn run(line: &ClientLine) -> Result<(), Failure> {
    if line.command == Command::Subscribe {
        return subscribe(line).await;
    }
    let remote = client(line, builder(line)).remote(line.addr).timeout(line.timeout);
    let answer = ask(line, &remote).await?;
    if line.command == Command::Get {
        put_out(&answer.content).map_err(|error| Failure::Other(error.to_string()))?;
    }
    remote.close().await;
    Ok(())
}

fn builder(line: &ClientLine) -> Builder {
    Builder::new().layer(line.layer()).request_timeout(line.timeout)
}

fn client(line: &ClientLine, builder: Builder) -> Client {
    if line.reconnect { builder.reconnect(Reconnect::default()).client() } else { builder.client() }
}

/// Asks what the command line says, and judges the answer.
async fn ask(line: &ClientLine, remote: &Remote) -> Result<Message, Failure> {
    let asked = remote.request(line.command.kind(), line.uri.clone(), line.content.clone()).await;
    let answer = asked.map_err(|error| failure(&error, remote))?;
    let text = || format!("{}: {}", answer.kind, String::from_utf8_lossy(&answer.content));
    match answer.kind {
        Kind::NOT_FOUND => Err(Failure::NotFound(text())),
        Kind::NOT_PERMITTED | Kind::AUTH_ERROR | Kind::ERROR => Err(Failure::Refused(text())),
        _ => Ok(answer),
    }
}

fn failure(error: &RequestError, remote: &Remote) -> Failure {
    let text = format!("{}: {error}", remote.addr());
    match error {
        // As long as there is no connection, it is that which took too long.
        RequestError::TimedOut if remote.peer().is_none() => Failure::NoConnection(text),
        RequestError::TimedOut => Failure::TimedOut(text),
        RequestError::Connect(_) | RequestError::Lost(_) | RequestError::Send(SendError::Closed) => {
            Failure::NoConnection(text)
        }
        _ => Failure::Refused(text),
    }
}

/// Writes what is published until there was enough of it.
async fn subscribe(line: &ClientLine) -> Result<(), Failure> {
    let (enough, left) = (CancellationToken::new(), Rc::new(Cell::new(line.count)));
    let done = enough.clone();
    let notified = move |incoming: Incoming| {
        let is_open = left.get() != Some(0) && put_out(&incoming.message.content).is_ok();
        left.set(left.get().map(|left| left.saturating_sub(1)));
        if left.get() == Some(0) || !is_open {
            done.cancel();
        }
        async { None }
    };
    let builder = builder(line).on((Kind::NOTIFY_URI, line.uri.clone()), notified);
    let remote = client(line, builder).remote(line.addr).timeout(line.timeout);
    loop {
        ask(line, &remote).await?;
        let Some(end) = enough.run_until_cancelled(remote.ended()).await else {
            remote.close().await;
            return Ok(());
        };
        eprintln!("message_client: {}: {end}", line.addr);
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
