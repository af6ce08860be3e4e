//! A reverse proxy: HTTP/2 in (and HTTP/1.1, with the feature `http1`), HTTP/2 out, to several servers in turn.
//!
//! ```sh
//! cargo run --release --example h2_server -- --addr 127.0.0.1:9001 &
//! cargo run --release --example h2_server -- --addr 127.0.0.1:9002 &
//! cargo run --release --example reverse_proxy -- --to 127.0.0.1:9001 --to 127.0.0.1:9002
//! curl --http2-prior-knowledge http://127.0.0.1:8080/headers
//! ```
//!
//! - Each worker keeps connections to every server. Content streams both ways, and who is slow holds back who is fast.
//! - A server that cannot be reached, or breaks off, is left out for half a second, then for twice as long each time. A request that it
//!   has not seen goes to the next one, and so does one that is idempotent; any other failure is a 502, a server that takes too
//!   long a 504.
//! - The server learns of the client by `forwarded` and `x-forwarded-*`, and of the proxy by `via`. What a client says in these fields
//!   is dropped, and so are fields that belong to one connection.
//! - With `--handover PATH` a second process takes the port over and the first one drains: a reload that refuses nobody.

#[path = "support/backends.rs"]
mod backends;
#[path = "support/ending.rs"]
mod ending;
#[path = "support/fields.rs"]
mod fields;
#[path = "support/generations.rs"]
mod generations;
#[cfg(feature = "http1")]
#[path = "support/http1.rs"]
mod older;
#[cfg(not(feature = "http1"))]
#[path = "support/http2_only.rs"]
mod older;

use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode, rc::Rc, time::Duration};

use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};
use wakering::http::{
    Body, Handler, Method, Place, Request, Response, Server, StatusCode, Uri, client, client::Client, header,
    with_place,
};

use self::{
    backends::{Backend, Backends, Untouched},
    generations::Generation,
};

const HELP: &str = "\
reverse_proxy: passes HTTP/2 requests on to servers that speak HTTP/2 in cleartext

usage: reverse_proxy --to HOST:PORT [--to HOST:PORT]... [options]

--to HOST:PORT             a server behind; several take turns
--addr HOST:PORT           where to listen; port 0 lets the system choose (default 127.0.0.1:8080)
--workers N                how many threads serve (default 1)
--grace SECONDS            how long connections may go on at the end (default 30)
--connect-timeout SECONDS  how long connecting to a server may take (default 5)
--timeout SECONDS          how long a server may take for its answer (default 60)
--handover PATH            take the port over from the process that offers it there, and offer it on
--help                     this text
";

#[derive(Clone)]
struct Options {
    to: Vec<String>,
    addr: SocketAddr,
    workers: usize,
    grace: Duration,
    connect_timeout: Duration,
    timeout: Duration,
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
            eprintln!("reverse_proxy: {error}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reverse_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        to: Vec::new(),
        addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
        workers: 1,
        grace: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(60),
        handover: None,
    };
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("to") => options.to.push(parser.value()?.parse_with(authority)?),
            Long("addr") => options.addr = parser.value()?.parse()?,
            Long("workers") => options.workers = parser.value()?.parse()?,
            Long("grace") => options.grace = parser.value()?.parse_with(seconds)?,
            Long("connect-timeout") => options.connect_timeout = parser.value()?.parse_with(seconds)?,
            Long("timeout") => options.timeout = parser.value()?.parse_with(seconds)?,
            Long("handover") => options.handover = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    if options.to.is_empty() {
        return Err("there is no server to pass requests on to: --to HOST:PORT".into());
    }
    Ok(Some(options))
}

fn authority(text: &str) -> Result<String, String> {
    let parsed = text.parse::<wakering::http::Uri>().ok();
    match parsed.as_ref().and_then(Uri::authority) {
        Some(authority) if authority.port().is_some() => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is no HOST:PORT")),
    }
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
    let each = options.clone();
    let builder = older::serve_http1_too(Server::builder());
    let server = builder.start_on_all_from(generation.listener()?, move || proxy(&each))?;
    generation.until_the_end().await?;
    server.stop(options.grace).await;
    Ok(())
}

/// The proxy of one worker, with connections of its own.
fn proxy(options: &Options) -> impl Handler + use<> {
    let client = Client::builder()
        .connect_timeout(options.connect_timeout)
        .timeout(options.timeout)
        // To try again is for the proxy, with another server.
        .retries(0)
        .build();
    let backends = Rc::new(Backends::new(&options.to));
    with_place(move |request: Request<Body>, place: Place| {
        let (client, backends) = (client.clone(), backends.clone());
        async move { pass(request, &place, &client, &backends).await }
    })
}

async fn pass(request: Request<Body>, place: &Place, client: &Client, backends: &Backends) -> Response<Body> {
    if request.method() == Method::CONNECT {
        return refusal(StatusCode::NOT_IMPLEMENTED, "this proxy opens no tunnels");
    }
    if fields::comes_back(request.headers()) {
        return refusal(StatusCode::LOOP_DETECTED, "the request has been here before");
    }
    let (mut head, body) = request.into_parts();
    let named = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = head.uri.authority().map(|authority| authority.as_str().to_owned()).or(named);
    fields::strip(&mut head.headers);
    fields::forward(&mut head.headers, place.peer_addr(), host.as_deref());
    fields::via(&mut head.headers, format!("{:?}", head.version).trim_start_matches("HTTP/"));
    head.headers.remove(header::HOST);

    let (body, mut tried) = (Untouched::new(body), Vec::new());
    while let Some(backend) = backends.next(&tried) {
        let Some(uri) = target(&head.uri, &backend) else { break };
        let mut request = Request::new(body.body());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = head.headers.clone();
        let interim = place.clone();
        let call = client.request(request).on_interim(move |early| {
            // A 100 is sent when the content is first read. Whoever is gone needs no hints.
            if early.status() != StatusCode::CONTINUE {
                let _ = interim.inform(early.status(), early.headers());
            }
        });
        match call.await {
            Ok(response) => {
                backend.worked();
                return answer(response);
            }
            Err(error) => {
                if !error.is_timeout() || error.is_connect() {
                    backend.failed();
                }
                tried.push(backend);
                if !(body.is_whole() && may_go_again(&head.method, &error)) || tried.len() == backends.count()
                {
                    return failed(&error);
                }
            }
        }
    }
    refusal(StatusCode::BAD_GATEWAY, "no server can be reached")
}

/// Whether another server may be asked: this one has not seen the request, or it does no harm twice (RFC 9110 §9.2.2).
fn may_go_again(method: &Method, error: &client::Error) -> bool {
    error.is_connect() || error.is_retryable() || (method.is_idempotent() && error.is_closed())
}

/// The same path at a server behind.
fn target(uri: &Uri, backend: &Backend) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    Uri::builder().scheme("http").authority(backend.authority.as_str()).path_and_query(path).build().ok()
}

fn answer(mut response: Response<Body>) -> Response<Body> {
    fields::strip(response.headers_mut());
    fields::via(response.headers_mut(), "2.0");
    response
}

fn failed(error: &client::Error) -> Response<Body> {
    if error.is_timeout() && !error.is_connect() {
        return refusal(StatusCode::GATEWAY_TIMEOUT, "the server takes too long");
    }
    refusal(StatusCode::BAD_GATEWAY, "the server cannot be reached, or broke off")
}

fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
