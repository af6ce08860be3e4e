//! The routes of the crate's own `h2_server` that are measured, as a service of hyper's.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

const HELLO: &[u8] = b"Hello, World!";
static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// The bodies of the routes.
pub enum Answer {
    Whole(Option<Bytes>),
    Stream { left: u64 },
    Echo(Incoming),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Answer::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Answer::Stream { left: 0 } => Poll::Ready(None),
            Answer::Stream { left } => {
                let length = (*left).min(CHUNK.len() as u64);
                *left -= length;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..length as usize])))))
            }
            Answer::Echo(incoming) => Pin::new(incoming).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Whole(bytes) => bytes.is_none(),
            Answer::Stream { left } => *left == 0,
            Answer::Echo(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Answer::Stream { left } => SizeHint::with_exact(*left),
            Answer::Echo(incoming) => incoming.size_hint(),
        }
    }
}

/// Answers a request.
pub async fn answer(mut request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => {
            let mut response = Response::new(Answer::Whole(Some(Bytes::from_static(HELLO))));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("13"));
            response
        }
        (&Method::GET, "/bytes") => match wanted_bytes(request.uri().query()) {
            Some(left) => Response::new(Answer::Stream { left }),
            None => empty(StatusCode::BAD_REQUEST),
        },
        (&Method::POST, "/count") => match count(request.body_mut()).await {
            Ok(count) => {
                let mut response = Response::new(Answer::Whole(Some(count.to_string().into())));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                response
            }
            Err(_) => empty(StatusCode::BAD_REQUEST),
        },
        (&Method::POST, "/echo") => Response::new(Answer::Echo(request.into_body())),
        _ => empty(StatusCode::NOT_FOUND),
    })
}

async fn count(body: &mut Incoming) -> Result<usize, hyper::Error> {
    let mut count = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        count += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(count)
}

fn wanted_bytes(query: Option<&str>) -> Option<u64> {
    query?.split('&').find_map(|pair| pair.strip_prefix("n="))?.parse().ok()
}

fn empty(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(None));
    *response.status_mut() = status;
    response
}
