//! hyper's client on wakering: fetches URLs by HTTP/1.1 or HTTP/2 in cleartext, without tokio's runtime.
//!
//! `cargo run --release --features hyper --example hyper_client -- http://127.0.0.1:8080/`, with `--http2` for HTTP/2.
//!
//! The content goes to standard output, what else there is to say to standard error. Code 0 when every response came whole and
//! its status is below 400, otherwise 1; 2 for mistakes on the command line.

#[path = "support/tell.rs"]
mod tell;

use std::{
    error::Error,
    io::{self, Write},
    net::ToSocketAddrs,
    process::ExitCode,
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::{HOST, HeaderValue},
};
use lexopt::prelude::*;
use tell::tell;
use wakering::{adapters::hyper::Executor, net::TcpConnector, spawn_blocking, time::timeout};

const HELP: &str = "\
Fetches URLs with hyper's client, on wakering.

usage: hyper_client [--http2] URL...

  --http2  HTTP/2 with prior knowledge instead of HTTP/1.1

The content goes to standard output. Code 0 when every response came whole with a status below 400, otherwise 1;
2 for mistakes on the command line.
";

/// How long each URL may take.
const LIMIT: Duration = Duration::from_secs(60);

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let (http2, urls) = match arguments() {
        Ok(Some(found)) => found,
        Ok(None) => {
            return ExitCode::from(u8::from(io::stdout().write_all(HELP.as_bytes()).is_err()));
        }
        Err(error) => {
            tell!("hyper_client: {error}\nusage: hyper_client [--http2] URL...");
            return ExitCode::from(2);
        }
    };
    let fetch = async {
        let mut good = true;
        for url in &urls {
            good &= match timeout(LIMIT, fetch(url, http2)).await {
                Ok(Ok(is_good)) => is_good,
                Ok(Err(error)) => report(url, &error.to_string()),
                Err(late) => report(url, &late.to_string()),
            };
        }
        good
    };
    match wakering::run(fetch) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tell!("hyper_client: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What to do; nothing, where help was asked for.
fn arguments() -> Result<Option<(bool, Vec<Uri>)>, lexopt::Error> {
    let (mut http2, mut urls) = (false, Vec::new());
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("http2") => http2 = true,
            Value(url) => urls.push(url.parse()?),
            Short(_) | Long(_) => return Err(argument.unexpected()),
        }
    }
    if urls.is_empty() {
        return Err("no URL".into());
    }
    Ok(Some((http2, urls)))
}

fn report(url: &Uri, error: &str) -> bool {
    tell!("hyper_client: {url}: {error}");
    false
}

/// Fetches one, and says whether its status is good.
async fn fetch(url: &Uri, http2: bool) -> Result<bool, Failure> {
    let authority = url.authority().filter(|_| url.scheme_str() == Some("http"));
    let authority = authority.ok_or("not an http URL")?;
    let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
    // Looking a name up blocks, in every libc.
    let found = spawn_blocking(move || address.to_socket_addrs().map(Vec::from_iter))?.await??;
    let stream = TcpConnector::new().nodelay(true).connect(found).await?;
    let mut response = if http2 {
        let (mut sender, connection) = http2::handshake(Executor, stream).await?;
        // Its errors are those of the request, too.
        wakering::spawn(connection);
        sender.send_request(Request::get(url).body(Empty::<Bytes>::new())?).await?
    } else {
        let (mut sender, connection) = http1::handshake(stream).await?;
        wakering::spawn(connection);
        let host = HeaderValue::from_str(authority.as_str())?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        sender.send_request(Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?).await?
    };
    tell!("{:?} {}", response.version(), response.status());
    print(&mut response).await?;
    Ok(response.status().as_u16() < 400)
}

async fn print(response: &mut Response<Incoming>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    while let Some(frame) = response.body_mut().frame().await {
        if let Some(data) = frame?.data_ref() {
            out.write_all(data)?;
        }
    }
    Ok(out.flush()?)
}
