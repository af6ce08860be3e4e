//! An HTTP/2 server that is run by a service manager and restarted without refusing anybody.
//!
//! By hand, with a second one that takes over:
//!
//! ```sh
//! cargo run --release --example service -- --handover /tmp/hello.sock &
//! cargo run --release --example service -- --handover /tmp/hello.sock
//! ```
//!
//! With its port opened by systemd:
//!
//! ```sh
//! systemd-socket-activate -l 8080 target/release/examples/service
//! ```
//!
//! | route | answer |
//! |---|---|
//! | `/` | the number of the process that answers |
//! | `/slow?ms=N` | the same after N milliseconds |
//! | `/peer` | the address of the client |

#[path = "support/ending.rs"]
mod ending;
#[path = "support/generations.rs"]
mod generations;

use std::{
    error::Error,
    net::SocketAddr,
    path::PathBuf,
    process::{self, ExitCode},
    time::Duration,
};

use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};
use wakering::{
    http::{Body, Handler, Place, Request, Response, Server, with_place},
    time::sleep,
};

use self::generations::Generation;

const HELP: &str = "\
service: serves HTTP/2 in cleartext, run by a service manager

usage: service [--addr HOST:PORT] [--workers N] [--grace SECONDS] [--handover PATH]

--addr HOST:PORT  where to listen when no socket is inherited; port 0 lets the system choose (default 127.0.0.1:8080)
--workers N       how many threads serve (default 1)
--grace SECONDS   how long connections may go on at the end (default 30)
--handover PATH   take the sockets over from the process that offers them there, and offer them on
--help            this text
";

struct Options {
    addr: SocketAddr,
    workers: usize,
    grace: Duration,
    handover: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match options() {
        Ok(Some(options)) => run(&options),
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("service: {error}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 8080));
    let mut options = Options { addr, workers: 1, grace: Duration::from_secs(30), handover: None };
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("addr") => options.addr = parser.value()?.parse()?,
            Long("workers") => options.workers = parser.value()?.parse()?,
            Long("grace") => options.grace = parser.value()?.parse_with(seconds)?,
            Long("handover") => options.handover = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no number of seconds"))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let generation = Generation::begin(options.handover.as_deref(), options.addr).await?;
    let server = Server::builder().start_on_all_from(generation.listener()?, handler)?;
    generation.until_the_end().await?;
    server.stop(options.grace).await;
    Ok(())
}

fn handler() -> impl Handler {
    with_place(|request: Request<Body>, place: Place| async move {
        match request.uri().path() {
            "/peer" => Response::new(Body::from(place.peer_addr().to_string())),
            "/slow" => {
                let query = request.uri().query().unwrap_or_default();
                let ms = query.strip_prefix("ms=").and_then(|ms| ms.parse().ok()).unwrap_or(0);
                sleep(Duration::from_millis(ms)).await;
                own_number()
            }
            _ => own_number(),
        }
    })
}

fn own_number() -> Response<Body> {
    Response::new(Body::from(process::id().to_string()))
}
