//! A small curl: HTTP/2 in cleartext with prior knowledge, or over TLS with the feature `tls-ring`; and HTTP/1.1 with the
//! feature `http1`, by `--http1.1` or because a server over TLS has nothing newer.
//!
//! `cargo run --release --example h2_client -- -v http://127.0.0.1:8080/`
//!
//! `--help` lists the options and the exit codes, which are curl's.

#[cfg(feature = "http1")]
#[path = "support/client_older.rs"]
mod older;
#[cfg(not(feature = "http1"))]
#[path = "support/client_http2_only.rs"]
mod older;
#[path = "support/progress.rs"]
mod progress;
#[path = "support/request_line.rs"]
mod request_line;
#[path = "support/tell.rs"]
mod tell;
#[cfg(feature = "tls-ring")]
#[path = "support/client_tls.rs"]
mod tls;
#[cfg(not(feature = "tls-ring"))]
#[path = "support/client_no_tls.rs"]
mod tls;

use std::{
    fmt,
    fs::File,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use wakering::{
    http::{
        Body, BodyError, Frame, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
        client::{self, Client, Kind},
        header,
    },
    time::timeout,
};

use self::{
    progress::Progress,
    request_line::{HELP, RequestLine, uri},
    tell::tell,
};

fn main() -> ExitCode {
    let line = match RequestLine::parse(std::env::args_os()) {
        Ok(Some(line)) => line,
        Ok(None) => {
            return ExitCode::from(u8::from(io::stdout().write_all(HELP.as_bytes()).is_err()));
        }
        Err(error) => {
            tell!("h2_client: {}", error.to_string().replace('\n', " "));
            return ExitCode::from(2);
        }
    };
    match wakering::run(fetch_all(&line)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tell!("h2_client: {error}");
            ExitCode::from(2)
        }
    }
}

/// What went wrong with one URL, and the code that stands for it.
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, text: impl fmt::Display) -> Failure {
        Failure { code, text: text.to_string() }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        let broken = error.connection_error().is_some_and(|error| error.is_peer());
        let code = match error.kind() {
            Kind::Resolve => 6,
            Kind::Connect => tls::code(&error).unwrap_or(7),
            Kind::Timeout => 28,
            Kind::Refused | Kind::Reset(_) => 92,
            Kind::Closed if broken => 16,
            Kind::Closed | Kind::GoAway => 56,
            Kind::Body => 55,
            _ => 2,
        };
        Failure::new(code, error)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Failure {
        let code = match error {
            BodyError::Reset(_) | BodyError::Violation { .. } => 92,
            BodyError::TimedOut { .. } => 28,
            BodyError::Connection(error) if error.is_peer() => 16,
            BodyError::Connection(_) => 28,
            _ => 18,
        };
        Failure::new(code, error)
    }
}

/// Fetches one URL after the other, over one connection to each host; the code is that of the last failure.
async fn fetch_all(line: &RequestLine) -> u8 {
    let mut builder = Client::builder().connect_timeout(line.connect_timeout);
    if line.frames {
        builder = builder.log_frames(|_connection| Some(Box::new(|frame| tell!("{frame}"))));
    }
    if line.older {
        match older::speak_http1(builder) {
            Ok(older) => builder = older,
            Err(error) => {
                tell!("h2_client: {error}");
                return 2;
            }
        }
    }
    if line.urls.iter().any(|url| url.starts_with("https://")) {
        match tls::trust(builder, line.authority.as_deref(), line.insecure) {
            Ok(secured) => builder = secured,
            Err(error) => {
                tell!("h2_client: {error}");
                return tls::UNTRUSTED;
            }
        }
    }
    let client = builder.build();
    let mut code = 0;
    for (number, url) in line.urls.iter().enumerate() {
        let output = line.outputs.get(number).map(AsRef::as_ref);
        let fetched = timeout(line.max_time, fetch(&client, line, url, output)).await;
        let late = |_| Err(Failure::new(28, format!("it took longer than {:?}", line.max_time)));
        if let Err(failure) = fetched.unwrap_or_else(late) {
            if !line.silent || line.show_errors {
                tell!("h2_client: {url}: {}", failure.text);
            }
            code = failure.code;
        }
    }
    // The servers are told that this is the end, and not waited for any longer than that.
    let _ = timeout(Duration::from_millis(100), client.shutdown()).await;
    code
}

async fn fetch(client: &Client, line: &RequestLine, url: &str, output: Option<&Path>) -> Result<(), Failure> {
    let uri = uri(url).ok_or_else(|| Failure::new(3, "not a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Failure::new(1, "only http and https are spoken here"));
    }
    let request = request(line, uri)?;
    if line.verbose {
        tell_request(&request, line.older);
    }
    let mut call = client.request(request);
    if line.verbose {
        call = call.on_interim(|interim| eprint!("{}", head(&interim, "< ")));
    }
    let response = call.await?;
    if line.verbose {
        eprint!("{}", head(&response, "< "));
    }
    if line.fail && response.status().as_u16() >= 400 {
        return Err(Failure::new(22, format!("the status is {}", response.status())));
    }
    receive(line, response, output).await
}

fn request(line: &RequestLine, uri: Uri) -> Result<Request<Body>, Failure> {
    let body = line.data.clone().map_or_else(Body::empty, Body::from);
    let mut request = Request::new(body);
    *request.method_mut() = line.method();
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    fields.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("wakering/", env!("CARGO_PKG_VERSION"))),
    );
    fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    if line.data.is_some() {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        fields.insert(header::CONTENT_TYPE, kind);
    }
    for name in line.headers.keys().chain(&line.left_out) {
        fields.remove(name);
    }
    for (name, value) in &line.headers {
        fields.append(name, value.clone());
    }
    Ok(request)
}

fn tell_request(request: &Request<Body>, older: bool) {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let version = match uri.scheme_str() {
        _ if older => " HTTP/1.1",
        // It is agreed on in the handshake, which is still to come; the answer tells.
        Some("https") => "",
        _ => " HTTP/2",
    };
    tell!("> {} {path}{version}", request.method());
    if !request.headers().contains_key(header::HOST) {
        tell!("> host: {}", uri.authority().map_or("", |authority| authority.as_str()));
    }
    // As the client adds it (RFC 9110 §8.6).
    let expected = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let length = request.body().exact_length().filter(|length| *length > 0 || expected);
    if let Some(length) = length.filter(|_| !request.headers().contains_key(header::CONTENT_LENGTH)) {
        tell!("> content-length: {length}");
    }
    tell!("{}> ", fields(request.headers(), "> "));
}

/// A head as text, its empty line included.
fn head<B>(response: &Response<B>, start: &str) -> String {
    let status = response.status();
    let version = match response.version() {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    format!("{start}{version} {}\n{}{start}\n", status.as_u16(), fields(response.headers(), start))
}

fn fields(headers: &HeaderMap, start: &str) -> String {
    let line = |(name, value): (&wakering::http::HeaderName, &HeaderValue)| {
        format!("{start}{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    headers.iter().map(line).collect()
}

/// Writes what is asked for of a response.
async fn receive(line: &RequestLine, response: Response<Body>, output: Option<&Path>) -> Result<(), Failure> {
    let unwritten = |error: io::Error| Failure::new(23, format!("the output cannot be written: {error}"));
    let mut out: Box<dyn Write> = match output {
        Some(path) => Box::new(File::create(path).map_err(unwritten)?),
        None => Box::new(io::stdout().lock()),
    };
    if line.include || line.head {
        out.write_all(head(&response, "").replace('\n', "\r\n").as_bytes()).map_err(unwritten)?;
    }
    let seen = output.is_some() || !io::stdout().is_terminal();
    let shown = !line.silent && (line.progress || seen);
    let total = response.body().exact_length().filter(|_| response.status() != StatusCode::NO_CONTENT);
    let mut progress = Progress::new(shown, line.progress, total);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        match frame? {
            Frame::Data(bytes) => {
                out.write_all(&bytes).map_err(unwritten)?;
                progress.add(bytes.len());
            }
            Frame::Trailers(trailers) if line.verbose => eprint!("{}", fields(&trailers, "< ")),
            Frame::Trailers(_) => {}
        }
    }
    progress.finish();
    out.flush().map_err(unwritten)
}
