//! An HTTP/2 server with a route for everything that is worth trying.
//!
//! `cargo run --release --example h2_server`, then
//! `curl --http2-prior-knowledge http://127.0.0.1:8080/`
//!
//! With the feature `http1` it speaks HTTP/1.0 and 1.1 on the same port, unless told `--http2-only`.
//!
//! `--log-frames` shows every frame on standard error. With the feature `tls-ring` there is `--tls`, and then
//! `curl --insecure https://localhost:8080/`
//!
//! | route | answer |
//! |---|---|
//! | `/`, any method | 13 bytes of text; content is not read |
//! | `GET /json` | a small object |
//! | `POST /echo` | the request's content, as it comes |
//! | `POST /count` | how many bytes the request's content has |
//! | `GET /headers` | the request's head, as JSON |
//! | `GET /early` | 103 (Early Hints), then a small page |
//! | `GET /slow?ms=N` | after N milliseconds, without blocking anybody |
//! | `GET /block?ms=N` | after a thread of the blocking pool has slept N milliseconds |
//! | `GET /bytes?n=N` | N bytes, up to 2^40, one chunk at a time |

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/serving.rs"]
mod serving;
#[path = "support/speaks.rs"]
mod speaks;
#[path = "support/tell.rs"]
mod tell;

use std::{
    error::Error,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use lexopt::Parser;
use serde_json::{Value, json};
use wakering::{
    http::{
        self, Body, BodyError, ConnectionInfo, Content, Frame, FrameLog, Handler, HeaderMap, HeaderValue,
        Method, Place, Request, Response, StatusCode, header,
    },
    spawn_blocking,
    time::sleep,
};

use self::{
    options::{About, Switches},
    speaks::Speaks,
    tell::tell,
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

const ABOUT: About = About {
    name: "h2_server",
    what: "serves HTTP/2, and HTTP/1 if that is built in, in cleartext or over TLS",
    addr: "127.0.0.1:8080",
};

/// Whether frames are shown.
#[derive(Default)]
struct Log(bool);

type Options = options::Options<(Log, Speaks)>;

impl Switches for Log {
    fn help() -> Vec<(&'static str, &'static str)> {
        vec![("--log-frames", "show every frame on standard error")]
    }

    fn take(&mut self, name: &str, _: &mut Parser) -> Result<bool, lexopt::Error> {
        self.0 |= name == "log-frames";
        Ok(name == "log-frames")
    }
}

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let (Log(frames), speaks) = &options.more;
    let mut builder = speaks.builder(true)?;
    if *frames {
        builder = builder.log_frames(log_frames);
    }
    let server = builder.start_on_all(options.addr, || Hints(route))?;
    serving::until_signal(server.local_addr(), server.handle().closed()).await?;
    server.stop(options.grace).await;
    Ok(())
}

/// Shows the frames of a connection.
fn log_frames(connection: &ConnectionInfo) -> Option<FrameLog> {
    let (id, began) = (connection.id, Instant::now());
    Some(Box::new(move |frame| tell!("[{id}] [{:7.3}] {frame}", began.elapsed().as_secs_f64())))
}

/// Gives hints about one page before it is made; they need the request's place on its connection.
struct Hints<H>(H);

impl<H: Handler> Handler for Hints<H> {
    type Future = H::Future;

    #[inline]
    fn call(&self, request: Request<Body>, place: &Place) -> H::Future {
        if request.uri().path() == "/early" {
            let link = HeaderValue::from_static("</style.css>; rel=preload; as=style");
            let hints = HeaderMap::from_iter([(header::LINK, link)]);
            // A client that is gone already needs none.
            let _ = place.inform(StatusCode::EARLY_HINTS, &hints);
        }
        self.0.call(request, place)
    }
}

async fn route(mut request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/" => hello(&mut request),
        "/json" => get(&request).unwrap_or_else(|| object(&json!({ "message": "Hello, World!" }))),
        "/echo" => echo(request),
        "/count" => count(request).await,
        "/headers" => get(&request).unwrap_or_else(|| headers(&request)),
        "/early" => get(&request).unwrap_or_else(|| text("<link rel=stylesheet href=style.css>")),
        "/slow" => slow(request).await,
        "/block" => block(request).await,
        "/bytes" => get(&request).unwrap_or_else(|| bytes(&request)),
        _ => status(StatusCode::NOT_FOUND),
    }
}

/// What is asked for most should cost least: the answer's field lies where the request's lay.
fn hello(request: &mut Request<Body>) -> Response<Body> {
    let mut response = http::response_to(request, "Hello, World!");
    set_type(&mut response, TEXT);
    response
}

/// The refusal of anything but GET and HEAD; `None` for those.
fn get(request: &Request<Body>) -> Option<Response<Body>> {
    match *request.method() {
        Method::GET | Method::HEAD => None,
        _ => Some(not_allowed("GET, HEAD")),
    }
}

fn echo(request: Request<Body>) -> Response<Body> {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = Response::new(request.into_body());
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

fn headers(request: &Request<Body>) -> Response<Body> {
    let fields = request.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        json!([name.as_str(), value])
    });
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    object(&json!({
        "method": request.method().as_str(),
        "path": path,
        "headers": fields.collect::<Vec<Value>>(),
    }))
}

async fn count(mut request: Request<Body>) -> Response<Body> {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let mut count = 0;
    while let Some(bytes) = request.body_mut().data().await {
        match bytes {
            Ok(bytes) => count += bytes.len(),
            Err(_broken) => return status(StatusCode::BAD_REQUEST),
        }
    }
    let mut response = Response::new(Body::from(count.to_string()));
    set_type(&mut response, TEXT);
    response
}

async fn slow(request: Request<Body>) -> Response<Body> {
    if let Some(refusal) = get(&request) {
        return refusal;
    }
    let Some(ms) = number(&request, "ms") else { return status(StatusCode::BAD_REQUEST) };
    sleep(Duration::from_millis(ms)).await;
    text("slow")
}

async fn block(request: Request<Body>) -> Response<Body> {
    if let Some(refusal) = get(&request) {
        return refusal;
    }
    let Some(ms) = number(&request, "ms") else { return status(StatusCode::BAD_REQUEST) };
    let Ok(job) = spawn_blocking(move || std::thread::sleep(Duration::from_millis(ms))) else {
        return status(StatusCode::SERVICE_UNAVAILABLE); // the pool's queue is full
    };
    match job.await {
        Ok(()) => text("block"),
        Err(_gone) => status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn bytes(request: &Request<Body>) -> Response<Body> {
    match number(request, "n") {
        Some(left) if left <= 1 << 40 => {
            let mut response = Response::new(Body::streaming(Pattern { left }));
            set_type(&mut response, BYTES);
            response
        }
        Some(_) | None => status(StatusCode::BAD_REQUEST),
    }
}

/// Zero bytes, as many as asked for, in chunks of one static block.
struct Pattern {
    left: u64,
}

static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

impl Content for Pattern {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(BLOCK.len() as u64);
        self.left -= length;
        Poll::Ready(Some(Ok(Frame::Data(Bytes::from_static(&BLOCK[..length as usize])))))
    }

    fn exact_length(&self) -> Option<u64> {
        Some(self.left)
    }
}

/// The number that the query gives for `name`.
fn number(request: &Request<Body>, name: &str) -> Option<u64> {
    let query = request.uri().query()?;
    let (_, value) = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
    value.parse().ok()
}

fn text(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    set_type(&mut response, TEXT);
    response
}

fn object(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    set_type(&mut response, JSON);
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = text(status.canonical_reason().unwrap_or("error"));
    *response.status_mut() = status;
    response
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn set_type(response: &mut Response<Body>, kind: HeaderValue) {
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
}
