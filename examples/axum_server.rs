//! An axum router on `http::Server`, without another runtime: over HTTP/2, with the feature `http1` also over HTTP/1, and with
//! `tls-ring` over TLS.
//!
//! `cargo run --release --features tower --example axum_server`, then
//! `curl --http2-prior-knowledge http://127.0.0.1:8080/`
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | 13 bytes of text |
//! | `GET /hello/{name}` | a greeting, by axum's extractor |
//! | `POST /sum` | the sum of a JSON array of numbers, as JSON |
//! | `POST /echo` | the request's content, as it comes |
//! | `POST /count` | how many bytes the request's content has |
//! | `GET /peer` | the client's address, by an extension of the request |
//! | `GET /slow/{ms}` | after so many milliseconds, without blocking anybody |
//! | `GET /block/{ms}` | after a thread of the blocking pool has slept so long |

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/speaks.rs"]
mod speaks;
#[path = "support/tell.rs"]
mod tell;

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::Path,
    http::StatusCode,
    routing::{get, post},
};
use http_body_util::BodyExt;
use wakering::{
    adapters::{stay_here, tower::send_handler},
    http::Handler,
    spawn_blocking,
    time::sleep,
};

use self::{options::About, speaks::Speaks};

const ABOUT: About = About { name: "axum_server", what: "serves an axum router", addr: "127.0.0.1:8080" };

type Options = options::Options<Speaks>;

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let server = options.more.builder(false)?.start_on_all(options.addr, app)?;
    ending::first_signal(server.local_addr()).await?;
    server.stop(options.grace).await;
    Ok(())
}

/// One for each worker.
fn app() -> impl Handler {
    let router = Router::new()
        .route("/", get(|| async { "Hello, World!" }))
        .route("/hello/{name}", get(|Path(name): Path<String>| async move { format!("Hello, {name}!\n") }))
        .route("/sum", post(|Json(numbers): Json<Vec<f64>>| async move { Json(numbers.iter().sum::<f64>()) }))
        .route("/echo", post(|body: Body| async { body }))
        .route("/count", post(count))
        .route("/peer", get(|Extension(peer): Extension<SocketAddr>| async move { format!("{peer}\n") }))
        .route("/slow/{ms}", get(slow))
        .route("/block/{ms}", get(block));
    send_handler(router).prepare(|request, place| {
        // Only who asks pays: an extension is an allocation a request.
        if request.uri().path() == "/peer" {
            request.extensions_mut().insert(place.peer_addr());
        }
    })
}

async fn count(mut body: Body) -> Result<String, StatusCode> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        length += frame.data_ref().map_or(0, |data| data.len());
    }
    Ok(format!("{length}\n"))
}

/// axum's futures are `Send`, and our timers are not: the sleep stays on this worker.
async fn slow(Path(ms): Path<u64>) -> &'static str {
    stay_here(sleep(Duration::from_millis(ms))).await;
    "slow\n"
}

async fn block(Path(ms): Path<u64>) -> Result<&'static str, StatusCode> {
    let job = async move {
        let job = spawn_blocking(move || std::thread::sleep(Duration::from_millis(ms)));
        job.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    };
    stay_here(job).await?;
    Ok("blocked\n")
}
