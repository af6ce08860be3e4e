//! gRPC by hand: length-prefixed messages in content, the outcome in trailers. Messages are raw bytes, so that no
//! compiler of interfaces is needed. With the feature `tls-ring` there is `--tls`.
//!
//! `cargo run --release --example grpc_echo`, then, with the PyPI package `grpcio`:
//!
//! ```python
//! import grpc
//! channel = grpc.insecure_channel("127.0.0.1:50051")
//! print(channel.unary_unary("/wakering.Echo/Unary")(b"some bytes"))
//! ```
//!
//! | method of `wakering.Echo` | kind | answer |
//! |---|---|---|
//! | `Unary` | unary | the message |
//! | `Fail` | unary | the status whose number the message is, with a text |
//! | `Wait` | unary | nothing before its deadline |
//! | `Waits` | unary | how many calls of `Wait` have begun, and how many have ended |
//! | `Join` | client streaming | all messages as one |
//! | `First` | client streaming | the first message; the others are not waited for |
//! | `Count` | server streaming | as many messages as the message says |
//! | `Chat` | bidirectional | every message as it comes |

#[path = "support/ending.rs"]
mod ending;
#[path = "support/grpc_time.rs"]
mod grpc_time;
#[path = "support/options.rs"]
mod options;
#[path = "support/speaks.rs"]
mod speaks;
#[path = "support/tell.rs"]
mod tell;

use std::{
    error::Error,
    fmt::Write,
    future::Future,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use wakering::{
    http::{
        Body, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Sender, StatusCode,
        header::CONTENT_TYPE,
    },
    spawn,
    time::{sleep, timeout},
};

use self::{grpc_time::time_limit, options::About, speaks::Speaks};

const ABOUT: About = About { name: "grpc_echo", what: "serves gRPC", addr: "127.0.0.1:50051" };

/// A longer message is refused: whoever announces it could otherwise make the server keep it.
const LONGEST_MESSAGE: usize = 16 * 1024 * 1024;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Calls of `Wait`: all of them, and those that ended because the deadline passed or the client went away.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

type Options = options::Options<Speaks>;

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let server = options.more.builder(false)?.start_on_all(options.addr, || route)?;
    ending::first_signal(server.local_addr()).await?;
    server.stop(options.grace).await;
    Ok(())
}

async fn route(request: Request<Body>) -> Response<Body> {
    let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if request.method() != Method::POST || !kind.starts_with(b"application/grpc") {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let limit = time_limit(request.headers());
    let (head, body) = request.into_parts();
    let messages = Messages { body, read: BytesMut::new() };
    match head.uri.path() {
        method @ ("/wakering.Echo/Count" | "/wakering.Echo/Chat") => {
            streamed(method == "/wakering.Echo/Chat", limit, messages)
        }
        method => match within(limit, single(method, messages)).await {
            Ok(answer) => whole(answer).await,
            Err(status) => trailers_only(&status),
        },
    }
}

/// The answer of a method that gives one.
async fn single(method: &str, mut messages: Messages) -> Result<Bytes, Status> {
    match method {
        "/wakering.Echo/Unary" | "/wakering.Echo/First" => messages.first().await,
        "/wakering.Echo/Join" => {
            let mut all = BytesMut::new();
            while let Some(message) = messages.next().await? {
                if all.len() + message.len() > LONGEST_MESSAGE {
                    return Err(Status::new(Status::RESOURCE_EXHAUSTED, "too much to join"));
                }
                all.extend_from_slice(&message);
            }
            Ok(all.freeze())
        }
        "/wakering.Echo/Fail" => {
            let code = number(&messages.first().await?)?;
            Err(Status::new(code, "as you wished: 100 % ✗"))
        }
        "/wakering.Echo/Wait" => {
            let _waits = Waits::begin();
            loop {
                sleep(Duration::from_secs(3600)).await;
            }
        }
        "/wakering.Echo/Waits" => {
            let (begun, ended) = (BEGUN.load(Ordering::Relaxed), ENDED.load(Ordering::Relaxed));
            Ok(format!("{begun} {ended}").into())
        }
        _ => Err(Status::new(Status::UNIMPLEMENTED, "there is no such method")),
    }
}

/// Counts a call of `Wait`; to be dropped is the only way that it ends.
struct Waits;

impl Waits {
    fn begin() -> Waits {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        Waits
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

/// The answer of a method that gives several: a task sends them while the client reads.
fn streamed(chat: bool, limit: Option<Duration>, mut messages: Messages) -> Response<Body> {
    let (mut sender, body) = Body::channel();
    spawn(async move {
        let work = async {
            if chat {
                echo_all(&mut messages, &mut sender).await
            } else {
                count(&mut messages, &mut sender).await
            }
        };
        let status = within(limit, work).await.err().unwrap_or_default();
        // A client that is gone wants no status either.
        let _ = sender.finish_with(status.fields());
    });
    response(body)
}

async fn echo_all(messages: &mut Messages, sender: &mut Sender) -> Result<(), Status> {
    while let Some(message) = messages.next().await? {
        send(sender, message).await?;
    }
    Ok(())
}

async fn count(messages: &mut Messages, sender: &mut Sender) -> Result<(), Status> {
    for at in 0..number(&messages.first().await?)? {
        send(sender, at.to_string().into()).await?;
    }
    Ok(())
}

async fn send(sender: &mut Sender, message: Bytes) -> Result<(), Status> {
    // Both in one piece while they are small; a large message is not copied behind its prefix.
    let mut prefix = BytesMut::with_capacity(5 + message.len().min(1024));
    prefix.put_u8(0);
    prefix.put_u32(message.len() as u32);
    let rest = if message.len() <= 1024 {
        prefix.extend_from_slice(&message);
        Bytes::new()
    } else {
        message
    };
    let gone = |_| Status::new(Status::CANCELLED, "nobody reads");
    sender.send(prefix.freeze()).await.map_err(gone)?;
    if !rest.is_empty() {
        sender.send(rest).await.map_err(gone)?;
    }
    Ok(())
}

async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let Some(limit) = limit else { return work.await };
    let late = |_| Err(Status::new(Status::DEADLINE_EXCEEDED, "the deadline has passed"));
    timeout(limit, work).await.unwrap_or_else(late)
}

/// The messages of a request.
struct Messages {
    body: Body,
    read: BytesMut,
}

impl Messages {
    async fn first(&mut self) -> Result<Bytes, Status> {
        let none = || Status::new(Status::INVALID_ARGUMENT, "a message was expected");
        self.next().await?.ok_or_else(none)
    }

    /// The next one; `None` when the client has sent all.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.body.data().await {
                Some(Ok(bytes)) => self.read.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(Status::new(Status::CANCELLED, error.to_string())),
                None if self.read.is_empty() => return Ok(None),
                None => return Err(Status::new(Status::INTERNAL, "half a message")),
            }
        }
    }

    /// One that has arrived in full.
    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((mut prefix, _)) = self.read.split_at_checked(5) else { return Ok(None) };
        if prefix.get_u8() != 0 {
            return Err(Status::new(Status::UNIMPLEMENTED, "compressed messages are not understood"));
        }
        let length = prefix.get_u32() as usize;
        if length > LONGEST_MESSAGE {
            return Err(Status::new(Status::RESOURCE_EXHAUSTED, "the message is too long"));
        }
        if self.read.len() < 5 + length {
            return Ok(None);
        }
        self.read.advance(5);
        Ok(Some(self.read.split_to(length).freeze()))
    }
}

/// How a call ended.
#[derive(Default)]
struct Status {
    code: u32,
    message: String,
}

impl Status {
    const CANCELLED: u32 = 1;
    const INVALID_ARGUMENT: u32 = 3;
    const DEADLINE_EXCEEDED: u32 = 4;
    const RESOURCE_EXHAUSTED: u32 = 8;
    const UNIMPLEMENTED: u32 = 12;
    const INTERNAL: u32 = 13;

    fn new(code: u32, message: impl Into<String>) -> Status {
        Status { code, message: message.into() }
    }

    fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(GRPC_STATUS, self.code.into());
        if !self.message.is_empty() {
            fields.insert(GRPC_MESSAGE, percent_encoded(&self.message));
        }
        fields
    }
}

/// Printable ASCII stays, but for `%`; every other byte becomes `%XX`.
fn percent_encoded(text: &str) -> HeaderValue {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    HeaderValue::try_from(encoded).expect("printable ASCII")
}

/// A message with the status 0 behind it.
async fn whole(message: Bytes) -> Response<Body> {
    let (mut sender, body) = Body::channel();
    // Nobody reads yet, so that there is room, and the body is still here.
    let _ = send(&mut sender, message).await;
    let _ = sender.finish_with(Status::default().fields());
    response(body)
}

/// A status without any message: head and trailers are one.
fn trailers_only(status: &Status) -> Response<Body> {
    let mut response = response(Body::empty());
    response.headers_mut().extend(status.fields());
    response
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn number(message: &[u8]) -> Result<u32, Status> {
    let number = std::str::from_utf8(message).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Status::new(Status::INVALID_ARGUMENT, "the message is no number"))
}
