//! The command line of `h2_client`.

use std::{ffi::OsString, fs, io::Read, path::PathBuf, time::Duration};

use bytes::Bytes;
use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt,
};
use wakering::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

pub(crate) const HELP: &str = "\
h2_client: fetches over HTTP/2, in cleartext with prior knowledge or over TLS, and over HTTP/1.1

usage: h2_client [options] URL...

-d, --data DATA        send DATA with POST; @FILE is a file's content as it is, @- standard input's;
                       several are joined with &
-H, --header LINE      send a field, 'Name: value'; 'Name;' sends it empty, 'Name:' leaves out one of ours
-X, --request METHOD   use this method
-I, --head             ask for the head only, and print it
-i, --include          print the response's head before its content
-v, --verbose          tell what is sent (>) and received (<) on standard error
-o, --output FILE      write to FILE instead of standard output; once for each URL
-f, --fail             no content for a status of 400 or more, and code 22
    --http1.1          speak HTTP/1.1 only; otherwise HTTP/2, and over TLS what the server prefers
    --cacert FILE      trust the certificates in FILE (PEM), instead of the system's
-k, --insecure         trust everybody
    --max-time SECONDS           how long each URL may take
    --connect-timeout SECONDS    how long connecting may take (default 10)
    --frames           tell every frame on standard error, as nghttp -v does
    --progress         show progress on standard error at once, and whatever takes the content
-s, --silent           say nothing on standard error: no progress, and no errors unless -S is given, too
-S, --show-error       with -s: say errors all the same
-h, --help             this text

codes:
  0  every response came whole      18  the response ended before its end
  1  not a scheme that we speak     22  a status of 400 or more, with -f
  2  bad arguments                  23  the output cannot be written
  3  not a URL                      28  a time limit passed
  6  the host's name is not known   55  the request's content failed
  7  no connection                  56  the connection ended early
 16  the peer broke the protocol   60  the certificate is not trusted
 35  TLS could not be agreed on    77  whom to trust cannot be read
                                   92  the peer reset the stream
With several URLs the code is that of the last one that failed.
";

/// What the command line asks for.
pub(crate) struct RequestLine {
    pub(crate) urls: Vec<String>,
    pub(crate) outputs: Vec<PathBuf>,
    pub(crate) data: Option<Bytes>,
    pub(crate) headers: HeaderMap,
    /// Fields of ours that are not to be sent.
    pub(crate) left_out: Vec<HeaderName>,
    pub(crate) method: Option<Method>,
    pub(crate) head: bool,
    pub(crate) include: bool,
    pub(crate) verbose: bool,
    pub(crate) fail: bool,
    pub(crate) frames: bool,
    /// HTTP/1.1 alone.
    pub(crate) older: bool,
    pub(crate) progress: bool,
    pub(crate) silent: bool,
    pub(crate) show_errors: bool,
    pub(crate) authority: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) max_time: Duration,
    pub(crate) connect_timeout: Duration,
}

impl RequestLine {
    /// Reads the command line; `None` when help is asked for.
    pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, lexopt::Error> {
        let mut all = RequestLine {
            urls: Vec::new(),
            outputs: Vec::new(),
            data: None,
            headers: HeaderMap::new(),
            left_out: Vec::new(),
            method: None,
            head: false,
            include: false,
            verbose: false,
            fail: false,
            frames: false,
            older: false,
            progress: false,
            silent: false,
            show_errors: false,
            authority: None,
            insecure: false,
            max_time: Duration::MAX,
            connect_timeout: Duration::from_secs(10),
        };
        let mut parser = Parser::from_iter(line);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('d') | Long("data") => all.add_data(&parser.value()?)?,
                Short('H') | Long("header") => all.add_field(&parser.value()?.string()?)?,
                Short('X') | Long("request") => all.method = Some(parser.value()?.parse()?),
                Short('o') | Long("output") => all.outputs.push(parser.value()?.into()),
                Short('I') | Long("head") => all.head = true,
                Short('i') | Long("include") => all.include = true,
                Short('v') | Long("verbose") => all.verbose = true,
                Short('f') | Long("fail") => all.fail = true,
                Long("http1.1") => all.older = true,
                Long("frames") => all.frames = true,
                Long("progress") => all.progress = true,
                Short('s') | Long("silent") => all.silent = true,
                Short('S') | Long("show-error") => all.show_errors = true,
                Long("cacert") => all.authority = Some(parser.value()?.into()),
                Short('k') | Long("insecure") => all.insecure = true,
                Long("max-time") => all.max_time = parser.value()?.parse_with(seconds)?,
                Long("connect-timeout") => all.connect_timeout = parser.value()?.parse_with(seconds)?,
                Short('h') | Long("help") => return Ok(None),
                Value(url) => all.urls.push(url.string()?),
                Short(_) | Long(_) => return Err(argument.unexpected()),
            }
        }
        if all.urls.is_empty() {
            return Err("no URL; --help tells more".into());
        }
        Ok(Some(all))
    }

    fn add_data(&mut self, text: &OsString) -> Result<(), lexopt::Error> {
        let piece = match text.to_str().and_then(|text| text.strip_prefix('@')) {
            Some("-") => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().read_to_end(&mut bytes);
                read.map_err(|error| format!("standard input cannot be read: {error}"))?;
                bytes
            }
            Some(path) => fs::read(path).map_err(|error| format!("{path}: {error}"))?,
            None => text.clone().string()?.into_bytes(),
        };
        self.data = Some(match self.data.take() {
            Some(before) => [&before[..], b"&", &piece].concat().into(),
            None => piece.into(),
        });
        Ok(())
    }

    fn add_field(&mut self, line: &str) -> Result<(), lexopt::Error> {
        let bad = || format!("`{line}` is no field: 'Name: value' is one");
        if let Some(name) = line.strip_suffix(';').filter(|name| !name.contains(':')) {
            let name: HeaderName = name.parse().map_err(|_| bad())?;
            self.headers.append(name, HeaderValue::from_static(""));
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        let name: HeaderName = name.parse().map_err(|_| bad())?;
        match value.trim() {
            "" => self.left_out.push(name),
            value => {
                let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?;
                self.headers.append(name, value);
            }
        }
        Ok(())
    }

    /// The method, as far as it is said or follows from the rest.
    pub(crate) fn method(&self) -> Method {
        match &self.method {
            Some(method) => method.clone(),
            None if self.head => Method::HEAD,
            None if self.data.is_some() => Method::POST,
            None => Method::GET,
        }
    }
}

/// A URL; one without a scheme is HTTP's.
pub(crate) fn uri(text: &str) -> Option<Uri> {
    let text = text.split('#').next().unwrap_or_default();
    let uri = if text.contains("://") { text.parse() } else { format!("http://{text}").parse::<Uri>() };
    uri.ok().filter(|uri| {
        uri.authority().is_some_and(|named| {
            // What stands for a port has to be one.
            let behind_user = named.as_str().rsplit('@').next().unwrap_or_default();
            let is_sound = named.port_u16().is_some() || behind_user.trim_end_matches(':') == named.host();
            is_sound && !named.host().is_empty()
        })
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no number of seconds"))
}
