//! Serves the files of a folder: over HTTP/2, with the feature `http1` also over HTTP/1, and with `tls-ring` over TLS.
//!
//! `cargo run --release --features http1 --example file_server -- .`, and a browser at `http://127.0.0.1:8080/`; without the
//! feature `curl --http2-prior-knowledge http://127.0.0.1:8080/`
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
#[path = "../support/options.rs"]
mod options;
#[path = "../support/serving.rs"]
mod serving;
#[path = "../support/speaks.rs"]
mod speaks;
#[path = "../support/tell.rs"]
mod tell;

use std::{error::Error, ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc};

use lexopt::{Arg, Parser};
use wakering::{
    http::{Body, HeaderValue, Method, Request, Response, StatusCode, header},
    spawn_blocking,
};

use self::{
    answer::{Asked, Wanted},
    options::{About, Switches},
    speaks::Speaks,
    tree::{Found, Tree},
};

const ABOUT: About =
    About { name: "file_server", what: "serves the files of a folder", addr: "127.0.0.1:8080" };

/// Which folder, and what of it.
#[derive(Default)]
struct Served {
    folder: Option<PathBuf>,
    no_list: bool,
}

impl Switches for Served {
    const USAGE: &'static str = "[options] [DIR]";

    fn help() -> Vec<(&'static str, &'static str)> {
        vec![
            ("DIR", "the folder (default: the current one)"),
            ("--no-list", "do not list folders that have no index.html"),
        ]
    }

    fn take(&mut self, name: &str, _: &mut Parser) -> Result<bool, lexopt::Error> {
        self.no_list |= name == "no-list";
        Ok(name == "no-list")
    }

    fn argument(&mut self, argument: OsString) -> Result<(), lexopt::Error> {
        if self.folder.is_some() {
            return Err(Arg::Value(argument).unexpected());
        }
        self.folder = Some(argument.into());
        Ok(())
    }
}

type Options = options::Options<(Served, Speaks)>;

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let served = &options.more.0;
    let folder = served.folder.clone().unwrap_or_else(|| PathBuf::from("."));
    let tree = Tree::new(&folder, !served.no_list)
        .map_err(|error| format!("{} cannot be served: {error}", folder.display()))?;
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options, Arc::new(tree)))?
}

async fn serve(options: &Options, tree: Arc<Tree>) -> Result<(), Box<dyn Error>> {
    let server = options.more.1.builder(false)?.start_on_all(options.addr, move || {
        let tree = tree.clone();
        move |request| respond(tree.clone(), request)
    })?;
    serving::until_signal(server.local_addr(), server.handle().closed()).await?;
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
