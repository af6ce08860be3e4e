//! A server that is run by a service manager and restarted without refusing anybody: HTTP/2, HTTP/1 with the feature `http1`,
//! and with `tls-ring` over TLS.
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
#[path = "support/options.rs"]
mod options;
#[path = "support/speaks.rs"]
mod speaks;
#[path = "support/tell.rs"]
mod tell;

use std::{
    error::Error,
    process::{self, ExitCode},
    time::Duration,
};

use wakering::{
    http::{Body, Handler, Place, Request, Response, with_place},
    time::sleep,
};

use self::{generations::HandingOver, options::About, speaks::Speaks};

const ABOUT: About = About {
    name: "service",
    what: "serves under a service manager: on its sockets, or on those of the process before it",
    addr: "127.0.0.1:8080",
};

type Options = options::Options<(HandingOver, Speaks)>;

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let (handing_over, speaks) = &options.more;
    let builder = speaks.builder(false)?;
    generations::serve(options, handing_over, |listener| builder.start_on_all_from(listener, handler)).await
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
