//! What `http::client` is put through with a foreign server: one function a check, on one shared connection or a pool.

#![expect(dead_code, reason = "each test program uses its own part of these checks")]

use std::cell::Cell;
use std::error::Error;
use std::fmt::Debug;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use wakering::http::client::{self, Client, ClientBuilder, SendRequest};
use wakering::http::{Body, Config, Frame, HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use wakering::{
    spawn,
    time::{sleep, timeout},
};

use crate::support::peer::Row;

/// Keeps the expectation above true in a program that happens to use everything.
const UNUSED: () = ();

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

pub(crate) const TEN_MIB: usize = 10 << 20;

/// What `/` answers.
pub(crate) const HELLO: &[u8] = b"Hello, World!";

/// Only a check that hangs takes so long.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs one check and notes in the row how it went.
pub(crate) async fn check(row: &mut Row, name: &str, work: impl Future<Output = Outcome>) {
    match timeout(LIMIT, work).await {
        Ok(Ok(())) => row.ok(name),
        Ok(Err(error)) => row.failed(&format!("{name}: {error}")),
        Err(_late) => row.failed(&format!("{name}: not done within {LIMIT:?}")),
    }
}

pub(crate) fn same<T: PartialEq + Debug>(found: T, wanted: T) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    let text = format!("{found:?} instead of {wanted:?}");
    Err(text.chars().take(400).collect::<String>().into())
}

/// Bytes in which a lost or doubled piece shows.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// What a server cannot do, or does in a way of its own, is left out, with the reason in the table.
#[derive(Clone, Copy)]
pub(crate) struct Lacks {
    pub(crate) trailers: Option<&'static str>,
    pub(crate) expect_continue: Option<&'static str>,
    pub(crate) early_hints: Option<&'static str>,
    /// To answer while the request is still coming.
    pub(crate) duplex: Option<&'static str>,
    pub(crate) graceful_close: Option<&'static str>,
}

pub(crate) const NOTHING: Lacks =
    Lacks { trailers: None, expect_continue: None, early_hints: None, duplex: None, graceful_close: None };

/// Goes through all checks with a server that has the routes of ours.
pub(crate) async fn exchanges(row: &mut Row, target: &Target, lacks: Lacks) {
    check(row, "GET", target.get("/", HELLO)).await;
    check(row, "HEAD", target.head("/")).await;
    check(row, "404", target.missing()).await;
    check(row, "POST echoed", target.echo("some words".into())).await;
    check(row, "empty POST", target.echo(Bytes::new())).await;
    check(row, "10 MiB down", target.down()).await;
    match lacks.duplex {
        None => check(row, "10 MiB up and back", target.echo(pattern(TEN_MIB))).await,
        Some(_) => check(row, "10 MiB up", target.counted(pattern(TEN_MIB))).await,
    }
    match lacks.trailers {
        None => check(row, "trailers both ways", target.trailers()).await,
        Some(why) => row.lacks("trailers", why),
    }
    match lacks.expect_continue {
        None => check(row, "100 Continue", target.expect_continue()).await,
        Some(why) => row.lacks("100 Continue", why),
    }
    match lacks.early_hints {
        None => check(row, "103 Early Hints", target.early_hints()).await,
        Some(why) => row.lacks("103 Early Hints", why),
    }
    check(row, "200 requests at once", target.at_once("/", HELLO.into())).await;
    match lacks.duplex {
        None => check(row, "both ways at once", target.line_by_line()).await,
        Some(why) => row.lacks("both ways at once", why),
    }
    check(row, "cancelled downloads", target.cancelled("/bytes?n=10000000")).await;
    check(row, "GET after all that", target.get("/", HELLO)).await;
}

/// Goes through all checks with a server of files; `more`: what else it can be asked to do with them.
pub(crate) async fn files(row: &mut Row, target: &Target, more: &[&str]) {
    check(row, "GET", target.get("/hello", HELLO)).await;
    check(row, "HEAD", target.head("/hello")).await;
    check(row, "404", target.missing()).await;
    check(row, "10 MiB down", target.get("/ten", &pattern(TEN_MIB))).await;
    check(row, "304", target.not_modified("/hello")).await;
    check(row, "200 requests at once", target.at_once("/hello", HELLO.into())).await;
    check(row, "cancelled downloads", target.cancelled("/ten")).await;
    if more.contains(&"echo") {
        check(row, "POST echoed", target.echo("some words".into())).await;
        check(row, "empty POST", target.echo(Bytes::new())).await;
        check(row, "10 MiB up and back", target.echo(pattern(TEN_MIB))).await;
    }
    if more.contains(&"refuse") {
        check(row, "10 MiB upload refused with 405", target.refused_upload("/hello")).await;
    }
    check(row, "GET after all that", target.get("/hello", HELLO)).await;
}

/// A server by its address, and the way to it.
#[derive(Clone)]
pub(crate) struct Target {
    way: Way,
    base: String,
}

#[derive(Clone)]
enum Way {
    Connection(SendRequest),
    Pool(Client),
}

impl Target {
    pub(crate) async fn connect(address: &str) -> Outcome<Target> {
        let way = Way::Connection(client::connect(address).await?);
        Ok(Target { way, base: format!("http://{address}") })
    }

    /// A connection whose answers are taken even while nobody reads what it says.
    pub(crate) async fn with_wide_windows(address: &str) -> Outcome<Target> {
        let config = Config { stream_window: 16 << 20, connection_window: 32 << 20, ..Config::default() };
        let way = Way::Connection(client::builder().http2(config).connect(address).await?);
        Ok(Target { way, base: format!("http://{address}") })
    }

    /// Connections as they are needed; `base` is scheme and authority.
    pub(crate) fn pool(builder: ClientBuilder, base: String) -> Target {
        Target { way: Way::Pool(builder.build()), base }
    }

    /// Waits until the server has ended its connections.
    pub(crate) async fn closed(&self) {
        match &self.way {
            Way::Connection(connection) => connection.closed().await,
            Way::Pool(client) => {
                while client.connections() > 0 {
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Body>,
    ) -> Outcome<Request<Body>> {
        Ok(Request::builder().method(method).uri(format!("{}{path}", self.base)).body(body.into())?)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Outcome<Response<Body>> {
        match &self.way {
            Way::Connection(connection) => {
                let mut connection = connection.clone();
                connection.ready().await?;
                Ok(connection.send(request).await?)
            }
            Way::Pool(client) => Ok(client.request(request).await?),
        }
    }

    /// An exchange whose first interim head is wanted, too.
    async fn send_seeing(&self, request: Request<Body>) -> Outcome<(Response<()>, Response<Body>)> {
        let seen = Rc::new(Cell::new(None));
        let answer = match &self.way {
            Way::Connection(connection) => {
                let mut connection = connection.clone();
                connection.ready().await?;
                let mut answer = connection.send(request);
                seen.set(answer.interim().await);
                answer.await?
            }
            Way::Pool(client) => {
                let first = seen.clone();
                let note = move |interim| first.set(first.take().or(Some(interim)));
                client.request(request).on_interim(note).await?
            }
        };
        Ok((seen.take().ok_or("no interim response")?, answer))
    }

    /// A whole exchange whose answer must be 200.
    async fn content(&self, method: Method, path: &str, body: impl Into<Body>) -> Outcome<Bytes> {
        let response = self.send(self.request(method, path, body)?).await?;
        same(response.status(), StatusCode::OK)?;
        Ok(response.into_body().collect(2 * TEN_MIB).await?)
    }

    pub(crate) async fn get(&self, path: &str, wanted: &[u8]) -> Outcome {
        let content = self.content(Method::GET, path, Body::empty()).await?;
        if content != wanted {
            Err(format!("{} bytes, not the wanted {}", content.len(), wanted.len()).into())
        } else {
            Ok(())
        }
    }

    pub(crate) async fn head(&self, path: &str) -> Outcome {
        same(self.content(Method::HEAD, path, Body::empty()).await?.len(), 0)
    }

    pub(crate) async fn missing(&self) -> Outcome {
        let response = self.send(self.request(Method::GET, "/nothing-of-that-name", Body::empty())?).await?;
        same(response.status(), StatusCode::NOT_FOUND)?;
        response.into_body().collect(TEN_MIB).await?;
        Ok(())
    }

    pub(crate) async fn echo(&self, sent: Bytes) -> Outcome {
        let received = self.content(Method::POST, "/echo", sent.clone()).await?;
        if received == sent {
            Ok(())
        } else {
            Err(format!("{} of {} bytes", received.len(), sent.len()).into())
        }
    }

    /// Content that the server has to have before it answers.
    pub(crate) async fn counted(&self, sent: Bytes) -> Outcome {
        let count = sent.len().to_string();
        same(self.content(Method::POST, "/count", sent).await?, count.into())
    }

    pub(crate) async fn down(&self) -> Outcome {
        let content = self.content(Method::GET, &format!("/bytes?n={TEN_MIB}"), Body::empty()).await?;
        same(content.len(), TEN_MIB)
    }

    /// Content of unknown length with trailers behind it, both of which come back.
    pub(crate) async fn trailers(&self) -> Outcome {
        let (mut sender, body) = Body::channel();
        let mut request = self.request(Method::POST, "/echo", body)?;
        // Go takes only trailers that were announced.
        request.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        spawn(async move {
            let fields = HeaderMap::from_iter(
                [("x-sum".parse().ok(), HeaderValue::from_static("12"))]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name?, value))),
            );
            // What cannot be sent is missing in the answer.
            let _ = sender.send("words".into()).await;
            let _ = sender.finish_with(fields);
        });
        let mut body = self.send(request).await?.into_body();
        let (mut content, mut sum) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame? {
                Frame::Data(bytes) => content.extend(bytes),
                Frame::Trailers(fields) => sum = fields.get("x-sum").cloned(),
            }
        }
        same((content.as_slice(), sum), (&b"words"[..], Some(HeaderValue::from_static("12"))))
    }

    /// The content waits for 100 (Continue); the answer shows that it came.
    pub(crate) async fn expect_continue(&self) -> Outcome {
        let mut request = self.request(Method::POST, "/echo", "words")?;
        request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
        let (interim, answer) = self.send_seeing(request).await?;
        same(interim.status(), StatusCode::CONTINUE)?;
        same(answer.into_body().collect(TEN_MIB).await?, Bytes::from("words"))
    }

    pub(crate) async fn early_hints(&self) -> Outcome {
        let (interim, answer) = self.send_seeing(self.request(Method::GET, "/early", Body::empty())?).await?;
        same((interim.status(), interim.headers().contains_key("link")), (StatusCode::EARLY_HINTS, true))?;
        same(answer.status(), StatusCode::OK)
    }

    /// Each waits for a place when the peer takes fewer at a time.
    pub(crate) async fn at_once(&self, path: &'static str, wanted: Bytes) -> Outcome {
        let each = (0..200).map(|_| {
            let (target, wanted) = (self.clone(), wanted.clone());
            spawn(async move { target.get(path, &wanted).await.map_err(|error| error.to_string()) })
        });
        for one in each.collect::<Vec<_>>() {
            one.await??;
        }
        Ok(())
    }

    /// Every line is sent after the one before has come back.
    pub(crate) async fn line_by_line(&self) -> Outcome {
        let (mut sender, body) = Body::channel();
        let mut answer = self.send(self.request(Method::POST, "/echo", body)?).await?.into_body();
        for round in 0..100 {
            let line = format!("line {round}\n");
            sender.send(line.clone().into()).await?;
            let mut back = BytesMut::new();
            while back.len() < line.len() {
                back.extend_from_slice(&answer.data().await.ok_or("an early end")??);
            }
            same(back, BytesMut::from(line.as_str()))?;
        }
        sender.finish();
        same(answer.collect(TEN_MIB).await?.len(), 0)
    }

    /// A file that the client has already.
    pub(crate) async fn not_modified(&self, path: &str) -> Outcome {
        let first = self.send(self.request(Method::GET, path, Body::empty())?).await?;
        let date = first.headers().get("last-modified").cloned().ok_or("no last-modified")?;
        first.into_body().collect(TEN_MIB).await?;
        let mut request = self.request(Method::GET, path, Body::empty())?;
        request.headers_mut().insert("if-modified-since", date);
        let second = self.send(request).await?;
        same(second.status(), StatusCode::NOT_MODIFIED)?;
        same(second.into_body().collect(TEN_MIB).await?.len(), 0)
    }

    pub(crate) async fn cancelled(&self, path: &str) -> Outcome {
        for _ in 0..20 {
            let mut body = self.send(self.request(Method::GET, path, Body::empty())?).await?.into_body();
            body.data().await.ok_or("no content")??;
        }
        match &self.way {
            Way::Connection(connection) => same(connection.is_closed(), false),
            // Each had a connection of its own.
            Way::Pool(_) => Ok(()),
        }
    }

    /// An upload that the server refuses before it has all of it.
    pub(crate) async fn refused_upload(&self, path: &str) -> Outcome {
        let response = self.send(self.request(Method::POST, path, pattern(TEN_MIB))?).await?;
        same(response.status(), StatusCode::METHOD_NOT_ALLOWED)?;
        response.into_body().collect(TEN_MIB).await?;
        Ok(())
    }

    /// The server is told to stop in the middle of a download, which goes on; then the connection ends.
    pub(crate) async fn graceful_close(&self, path: &str, stop: impl FnOnce()) -> Outcome {
        let mut body = self.send(self.request(Method::GET, path, Body::empty())?).await?.into_body();
        let mut length = body.data().await.ok_or("no content")??.len();
        stop();
        while let Some(bytes) = body.data().await {
            length += bytes?.len();
        }
        same(length, TEN_MIB)?;
        self.closed().await;
        Ok(())
    }

    /// A call of gRPC: its messages, and the status behind them.
    pub(crate) async fn call(&self, method: &str, messages: Vec<Bytes>) -> Outcome<(Vec<Bytes>, String)> {
        let (mut sender, body) = Body::channel();
        let mut request = self.request(Method::POST, &format!("/wakering.Echo/{method}"), body)?;
        let fields = request.headers_mut();
        fields.insert("content-type", HeaderValue::from_static("application/grpc"));
        fields.insert("te", HeaderValue::from_static("trailers"));
        spawn(async move {
            for message in messages {
                let mut framed = BytesMut::with_capacity(5 + message.len());
                framed.put_u8(0);
                framed.put_u32(message.len() as u32);
                framed.extend_from_slice(&message);
                if sender.send(framed.freeze()).await.is_err() {
                    return;
                }
            }
            sender.finish();
        });
        let response = self.send(request).await?;
        let mut status = response.headers().get("grpc-status").cloned();
        let (mut body, mut content) = (response.into_body(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            match frame? {
                Frame::Data(bytes) => content.extend_from_slice(&bytes),
                Frame::Trailers(fields) => status = fields.get("grpc-status").cloned(),
            }
        }
        let status = status.ok_or("no status")?.to_str()?.to_owned();
        Ok((messages_of(content.freeze())?, status))
    }
}

fn messages_of(mut content: Bytes) -> Outcome<Vec<Bytes>> {
    let mut messages = Vec::new();
    while !content.is_empty() {
        let (flag, length) = (content.try_get_u8()?, content.try_get_u32()? as usize);
        same(flag, 0)?;
        same(content.len() >= length, true)?;
        messages.push(content.split_to(length));
    }
    Ok(messages)
}
