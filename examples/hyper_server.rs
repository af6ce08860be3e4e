//! hyper's server on wakering: HTTP/1 and HTTP/2 in cleartext on one port, several workers, without tokio's runtime.
//!
//! `cargo run --release --features hyper --example hyper_server`, then `curl http://127.0.0.1:8080/`, with
//! `--http2-prior-knowledge` too.
//!
//! | route | answer |
//! |---|---|
//! | `/` | 13 bytes of text |
//! | `POST /echo` | the request's content, as it comes |
//! | `POST /count` | how many bytes the request's content has |
//! | `GET /slow?ms=N` | after N milliseconds, without blocking anybody |

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/stop.rs"]
mod stop;
#[path = "support/tell.rs"]
mod tell;

use std::{convert::Infallible, error::Error, io, pin::pin, process::ExitCode, time::Duration};

use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::server::conn::auto;
use wakering::{
    CancellationToken,
    adapters::hyper::{Executor, Timer},
    net::{
        TcpListener, TcpStream,
        listen::{Spread, listen},
    },
    time::sleep,
};

use self::options::{About, Options};

const ABOUT: About = About {
    name: "hyper_server",
    what: "serves HTTP/1 and HTTP/2 in cleartext by hyper",
    addr: "127.0.0.1:8080",
};

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    Ok(runtime.block_on(serve(options))??)
}

async fn serve(options: &Options) -> io::Result<()> {
    let shares = TcpListener::builder().bind_each(options.addr, options.workers, Spread::PerWorker)?;
    let addr = shares[0].local_addr()?;
    let (stop, grace) = (CancellationToken::new(), options.grace);
    let mut workers = Vec::new();
    for (worker, share) in shares.into_iter().enumerate() {
        let stop = stop.clone();
        let serve = move || async move {
            let told = stop.clone();
            let accepting = listen(share.into_tcp()?).until(stop.cancelled()).grace(grace);
            accepting.serve(move |stream, _| connection(stream, told.clone())).await
        };
        workers.push(wakering::spawn_on(worker, serve)?);
    }
    stop::serve(addr, stop, workers).await
}

/// Serves one connection, whichever version it speaks, and ends it in good order when that is wanted.
async fn connection(stream: TcpStream, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut builder = auto::Builder::new(Executor);
    // With a timer hyper does not wait for a request's head for ever.
    builder.http1().timer(Timer);
    builder.http2().timer(Timer);
    let mut serving = pin!(builder.serve_connection(stream, service_fn(route)));
    match select(serving.as_mut(), pin!(stop.cancelled())).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}

type Content = BoxBody<Bytes, hyper::Error>;

async fn route(request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
    let content = match request.uri().path() {
        "/" => whole("Hello, World!"),
        "/echo" => request.into_body().boxed(),
        "/count" => match request.into_body().collect().await {
            Ok(all) => whole(all.to_bytes().len().to_string()),
            Err(_) => return Ok(empty(StatusCode::BAD_REQUEST)),
        },
        "/slow" => {
            let wanted = request.uri().query().and_then(|query| query.strip_prefix("ms="));
            let Some(ms) = wanted.and_then(|ms| ms.parse().ok()) else {
                return Ok(empty(StatusCode::BAD_REQUEST));
            };
            sleep(Duration::from_millis(ms)).await;
            whole("slow\n")
        }
        _ => return Ok(empty(StatusCode::NOT_FOUND)),
    };
    Ok(Response::new(content))
}

fn whole(bytes: impl Into<Bytes>) -> Content {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

fn empty(status: StatusCode) -> Response<Content> {
    let mut response = Response::new(whole(""));
    *response.status_mut() = status;
    response
}
