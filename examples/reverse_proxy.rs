//! A reverse proxy: HTTP/2 in (HTTP/1 with the feature `http1`, over TLS with `tls-ring`), HTTP/2 out, to several servers in turn.
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
//! - The server learns of the client by `forwarded` and `x-forwarded-*`, and of the proxy by `via`. What a client says in the
//!   former two or in `x-real-ip` is dropped, and so are fields that belong to one connection.
//! - With `--handover PATH` a second process takes the port over and the first one drains: a reload that refuses nobody.

#[path = "support/backends.rs"]
mod backends;
#[path = "support/ending.rs"]
mod ending;
#[path = "support/fields.rs"]
mod fields;
#[path = "support/generations.rs"]
mod generations;
#[path = "support/options.rs"]
mod options;
#[path = "support/speaks.rs"]
mod speaks;
#[path = "support/tell.rs"]
mod tell;

use std::{error::Error, process::ExitCode, rc::Rc, time::Duration};

use lexopt::{Parser, ValueExt};
use wakering::http::{
    Body, Handler, Method, Place, Request, Response, StatusCode, Uri, client, client::Client, header,
    with_place,
};

use self::{
    backends::{Backend, Backends, Untouched},
    generations::HandingOver,
    options::{About, Switches, seconds},
    speaks::Speaks,
};

const ABOUT: About = About {
    name: "reverse_proxy",
    what: "passes requests on to servers that speak HTTP/2 in cleartext",
    addr: "127.0.0.1:8080",
};

/// The servers behind, and how long they may take.
#[derive(Clone)]
struct Behind {
    to: Vec<String>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl Default for Behind {
    fn default() -> Behind {
        Behind { to: Vec::new(), connect_timeout: Duration::from_secs(5), timeout: Duration::from_secs(60) }
    }
}

impl Switches for Behind {
    const USAGE: &'static str = "--to HOST:PORT [--to HOST:PORT]... [options]";

    fn help() -> Vec<(&'static str, &'static str)> {
        vec![
            ("--to HOST:PORT", "a server behind; several take turns"),
            ("--connect-timeout SECONDS", "how long connecting to a server may take (default 5)"),
            ("--timeout SECONDS", "how long a server may take for its answer (default 60)"),
        ]
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, lexopt::Error> {
        match name {
            "to" => self.to.push(parser.value()?.parse_with(authority)?),
            "connect-timeout" => self.connect_timeout = parser.value()?.parse_with(seconds)?,
            "timeout" => self.timeout = parser.value()?.parse_with(seconds)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), lexopt::Error> {
        if self.to.is_empty() {
            return Err("there is no server to pass requests on to: --to HOST:PORT".into());
        }
        Ok(())
    }
}

fn authority(text: &str) -> Result<String, String> {
    let parsed = text.parse::<Uri>().ok();
    match parsed.as_ref().and_then(Uri::authority) {
        Some(authority) if authority.port().is_some() => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is no HOST:PORT")),
    }
}

type Options = options::Options<(Behind, (HandingOver, Speaks))>;

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))?
}

async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let (behind, (handing_over, speaks)) = &options.more;
    let scheme = if speaks.tls { "https" } else { "http" };
    let (builder, behind) = (speaks.builder(false)?, behind.clone());
    let start = |listener| builder.start_on_all_from(listener, move || proxy(&behind, scheme));
    generations::serve(options, handing_over, start).await
}

/// The proxy of one worker, with connections of its own.
struct Proxy {
    client: Client,
    backends: Backends,
    /// What the clients speak: `http` or `https`.
    scheme: &'static str,
}

fn proxy(behind: &Behind, scheme: &'static str) -> impl Handler + use<> {
    let client = Client::builder()
        .connect_timeout(behind.connect_timeout)
        .timeout(behind.timeout)
        // To try again is for the proxy, with another server.
        .retries(0)
        .build();
    let proxy = Rc::new(Proxy { client, backends: Backends::new(&behind.to), scheme });
    with_place(move |request: Request<Body>, place: Place| {
        let proxy = proxy.clone();
        async move { pass(request, &place, &proxy).await }
    })
}

async fn pass(request: Request<Body>, place: &Place, proxy: &Proxy) -> Response<Body> {
    if request.method() == Method::CONNECT {
        return refusal(StatusCode::NOT_IMPLEMENTED, "this proxy opens no tunnels");
    }
    if fields::comes_back(request.headers()) {
        return refusal(StatusCode::LOOP_DETECTED, "the request has been here before");
    }
    let (mut head, body) = request.into_parts();
    if !fields::goes_on(&head.method, &mut head.headers) {
        return last_stop(&head.method);
    }
    let named = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = head.uri.authority().map(|authority| authority.as_str().to_owned()).or(named);
    fields::strip(&mut head.headers);
    fields::forward(&mut head.headers, place.peer_addr(), proxy.scheme, host.as_deref());
    fields::via(&mut head.headers, format!("{:?}", head.version).trim_start_matches("HTTP/"));
    head.headers.remove(header::HOST);

    let (body, mut tried) = (Untouched::new(body), Vec::new());
    while let Some(backend) = proxy.backends.next(&tried) {
        let Some(uri) = target(&head.uri, &backend) else { break };
        let mut request = Request::new(body.body());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = head.headers.clone();
        let interim = place.clone();
        let call = proxy.client.request(request).on_interim(move |early| {
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
                if !(body.is_whole() && may_go_again(&head.method, &error))
                    || tried.len() == proxy.backends.count()
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

/// The answer to a request that was not to go any further.
fn last_stop(method: &Method) -> Response<Body> {
    if *method == Method::TRACE {
        return refusal(StatusCode::NOT_IMPLEMENTED, "this proxy does not say what it was told");
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
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
