//! Serves the files of a folder over HTTP/2 in cleartext.
//!
//! `cargo run --release --example file_server -- .`, then `curl --http2-prior-knowledge http://127.0.0.1:8080/`
//!
//! - **Ranges**: one, or up to 16 as `multipart/byteranges`; 416 where none can be satisfied (RFC 9110 §14).
//! - **Conditional requests**: strong `etag` of length, time and inode, `last-modified`; If-Match, If-Unmodified-Since, If-None-Match,
//!   If-Modified-Since and If-Range in the order of RFC 9110 §13.2.2.
//! - **Compression**: `NAME.br`, `NAME.zst` and `NAME.gz` beside a file are sent in its place to who takes them, unless they are
//!   older; else text of up to 1 MiB is compressed on its way (br, gzip). What is asked for in parts is not compressed.
//! - **Folders**: `index.html`, or a list of what is there (`--no-list`: 404).
//! - **Large files** are read by threads of the blocking pool, 128 KiB at a time, and only as fast as the client takes them.
//!
//! What may be read: regular files below the folder whose path has no name that begins with a dot. Symbolic links are followed as
//! long as they stay in the folder; whoever may change it while it is served may lead out of it, and is trusted.

mod answer;
mod coding;
mod content;
mod listing;
mod tree;

#[path = "../support/ending.rs"]
mod ending;

use std::{
    error::Error,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use lexopt::prelude::*;
use wakering::{
    http::{Body, HeaderValue, Method, Request, Response, Server, StatusCode, header},
    spawn_blocking,
};

use self::{
    answer::{Asked, Wanted},
    tree::{Found, Tree},
};

const HELP: &str = "\
file_server: serves the files of a folder over HTTP/2 in cleartext

usage: file_server [options] [DIR]

DIR                   the folder (default: the current one)
--addr HOST:PORT      where to listen; port 0 lets the system choose (default 127.0.0.1:8080)
--workers N           how many threads serve (default 1)
--grace SECONDS       how long downloads may go on after Ctrl-C or SIGTERM (default 5);
                      a second signal ends the process at once
--no-list             do not list folders that have no index.html
-h, --help            this text
";

struct Options {
    addr: SocketAddr,
    workers: usize,
    grace: Duration,
    list: bool,
    folder: PathBuf,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("file_server: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("file_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
        workers: 1,
        grace: Duration::from_secs(5),
        list: true,
        folder: PathBuf::from("."),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("addr") => options.addr = parser.value()?.parse_with(resolve)?,
            Long("workers") => options.workers = parser.value()?.parse()?,
            Long("grace") => options.grace = parser.value()?.parse_with(seconds)?,
            Long("no-list") => options.list = false,
            Long("help") | Short('h') => return Ok(None),
            Value(folder) => options.folder = folder.into(),
            Short(_) | Long(_) => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("`{text}` is no HOST:PORT: {error}"))?;
    found.next().ok_or_else(|| format!("`{text}` has no address"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no number of seconds"))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let tree = Tree::new(&options.folder, options.list)
        .map_err(|error| format!("{} cannot be served: {error}", options.folder.display()))?;
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options, Arc::new(tree)))?
}

async fn serve(options: &Options, tree: Arc<Tree>) -> Result<(), Box<dyn Error>> {
    let server = Server::builder().start_on_all(options.addr, move || {
        let tree = tree.clone();
        move |request| respond(tree.clone(), request)
    })?;
    ending::first_signal(server.local_addr()).await?;
    server.stop(options.grace).await;
    Ok(())
}

async fn respond(tree: Arc<Tree>, request: Request<Body>) -> Response<Body> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let wrong = if request.method() == Method::OPTIONS {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::METHOD_NOT_ALLOWED
        };
        let mut response = empty(wrong);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        return response;
    }
    let asked = Asked::new(&request);
    let path = request.uri().path().to_owned();
    // Everything that asks the file system, and compressing, is done by a thread that may wait.
    let Ok(job) = spawn_blocking(move || look(&tree, &path, &asked)) else {
        return empty(StatusCode::SERVICE_UNAVAILABLE);
    };
    job.await.unwrap_or_else(|_| Wanted::Status(StatusCode::INTERNAL_SERVER_ERROR)).into_response()
}

/// Finds what a path names, and decides what to say of it.
fn look(tree: &Tree, path: &str, asked: &Asked) -> Wanted {
    match tree.find(path) {
        Ok(Found::File(file)) => answer::file(file, asked),
        Ok(Found::Folder(entries, shown)) => listing::page(&entries, &shown),
        Ok(Found::Elsewhere(location)) => Wanted::Elsewhere(location),
        Err(status) => Wanted::Status(status),
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
