//! tonic on `http::Server`: gRPC in cleartext, without tokio's runtime. Messages are raw bytes, so that no compiler of
//! interfaces is needed; what that would generate stands here by hand.
//!
//! `cargo run --release --features tower --example tonic_echo`, then as with `grpc_echo`, whose methods it has.

#[path = "support/ending.rs"]
mod ending;
#[path = "support/grpc_time.rs"]
mod grpc_time;
#[path = "support/options.rs"]
mod options;
#[path = "support/tell.rs"]
mod tell;

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, pending},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};
use futures_util::stream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::Grpc,
};
use tower::service_fn;
use wakering::{
    adapters::{
        stay_here,
        tower::{SendBody, send_handler},
    },
    http::{self, Server},
    time::timeout,
};

use self::{
    grpc_time::time_limit,
    options::{About, Options},
};

const ABOUT: About =
    About { name: "tonic_echo", what: "serves gRPC by tonic, in cleartext", addr: "127.0.0.1:50051" };

/// A longer message is refused: whoever announces it could otherwise make the server keep it.
const LONGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// Calls of `Wait`: all of them, and those that ended because the deadline passed or the client went away.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let server = Server::builder().start_on_all(options.addr, || send_handler(service_fn(route)))?;
    ending::first_signal(server.local_addr()).await?;
    server.stop(options.grace).await;
    Ok(())
}

async fn route(request: http::Request<SendBody>) -> Result<http::Response<tonic::body::Body>, Infallible> {
    let limit = time_limit(request.headers());
    let mut grpc = Grpc::new(Raw).max_decoding_message_size(LONGEST_MESSAGE + 1024 * 1024 * 1024);
    let path = request.uri().path().to_owned();
    Ok(match path.strip_prefix("/wakering.Echo/").unwrap_or_default() {
        "Unary" => grpc.unary(service_fn(unary), request).await,
        "Fail" => grpc.unary(service_fn(fail), request).await,
        "Wait" => grpc.unary(service_fn(|_: Request<Bytes>| within(limit, wait())), request).await,
        "Waits" => grpc.unary(service_fn(waits), request).await,
        "Join" => grpc.client_streaming(service_fn(join), request).await,
        "First" => grpc.client_streaming(service_fn(first), request).await,
        "Count" => grpc.server_streaming(service_fn(count), request).await,
        "Chat" => grpc.streaming(service_fn(chat), request).await,
        _ => Status::unimplemented("there is no such method").into_http(),
    })
}

async fn unary(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    Ok(Response::new(request.into_inner()))
}

async fn fail(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let code = i32::try_from(number(request.get_ref())?).unwrap_or_default();
    Err(Status::new(Code::from_i32(code), "as you wished: 100 % ✗"))
}

/// Counts a call of `Wait`; to be dropped is the only way that it ends.
struct Waits;

impl Drop for Waits {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

async fn wait() -> Result<Response<Bytes>, Status> {
    BEGUN.fetch_add(1, Ordering::Relaxed);
    let _waits = Waits;
    pending().await
}

async fn waits(_: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let (begun, ended) = (BEGUN.load(Ordering::Relaxed), ENDED.load(Ordering::Relaxed));
    Ok(Response::new(format!("{begun} {ended}").into()))
}

async fn join(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let (mut messages, mut all) = (request.into_inner(), Vec::new());
    while let Some(message) = messages.message().await? {
        if all.len() + message.len() > LONGEST_MESSAGE {
            return Err(Status::resource_exhausted("too much to join"));
        }
        all.extend_from_slice(&message);
    }
    Ok(Response::new(all.into()))
}

async fn first(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let message = request.into_inner().message().await?;
    message.map(Response::new).ok_or_else(|| Status::invalid_argument("a message was expected"))
}

/// Messages that are made one by one, when there is room for them.
type Made = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, Status>> + Send>>;

async fn count(request: Request<Bytes>) -> Result<Response<Made>, Status> {
    let most = number(request.get_ref())?;
    let numbers = (0..most).map(|at| Ok(Bytes::from(at.to_string())));
    Ok(Response::new(Box::pin(stream::iter(numbers))))
}

async fn chat(request: Request<Streaming<Bytes>>) -> Result<Response<Streaming<Bytes>>, Status> {
    Ok(Response::new(request.into_inner()))
}

/// tonic leaves deadlines to its transport, which is tokio's. The timer stays on this worker.
async fn within<T: 'static>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Status>> + 'static,
) -> Result<T, Status> {
    let Some(limit) = limit else { return work.await };
    let late = |_| Err(Status::deadline_exceeded("the deadline has passed"));
    stay_here(timeout(limit, work)).await.unwrap_or_else(late)
}

fn number(message: &[u8]) -> Result<u32, Status> {
    let number = std::str::from_utf8(message).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Status::invalid_argument("the message is no number"))
}

/// Messages as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        if from.remaining() > LONGEST_MESSAGE {
            return Err(Status::resource_exhausted("the message is too long"));
        }
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
