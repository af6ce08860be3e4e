//! `tokio::io::{AsyncRead, AsyncWrite}` over connections, their halves, tunnels and connections in memory, and a crate that is bound to
//! them (feature `tokio-io`).
#![cfg(feature = "tokio-io")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why by panicking")]

#[path = "support/net.rs"]
mod support;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use support::{LOOPBACK, pair, pattern, run};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::codec::{Framed, FramedRead, FramedWrite, LengthDelimitedCodec, LinesCodec};
use wakering::{
    http::{Body, Method, Request, Server, Tunnel, client},
    net::{TcpListener, UnixStream},
    spawn,
    testing::{self, Link},
};

const LENGTH: usize = 300_000;

/// Sends a pattern, plain and vectored in turn, then flushes and shuts down, knowing nothing but the trait.
async fn send(mut to: impl AsyncWrite + Unpin, seed: u64) -> io::Result<()> {
    let all = pattern(seed, LENGTH);
    let mut rest = &all[..];
    let mut to = Pin::new(&mut to);
    while !rest.is_empty() {
        let (first, second) = rest.split_at(rest.len() / 2);
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let written = match rest.len() % 2 {
            0 => poll_fn(|cx| to.as_mut().poll_write_vectored(cx, &slices)).await?,
            _ => poll_fn(|cx| to.as_mut().poll_write(cx, rest)).await?,
        };
        rest = &rest[written..];
    }
    poll_fn(|cx| to.as_mut().poll_flush(cx)).await?;
    poll_fn(|cx| to.as_mut().poll_shutdown(cx)).await?;
    // Shutting down what is shut down is no error.
    poll_fn(|cx| to.as_mut().poll_shutdown(cx)).await
}

/// Receives to the end, into buffers that hold something already, of which a part is initialised.
async fn receive(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let (mut all, mut from) = (Vec::new(), Pin::new(&mut from));
    let mut memory = [std::mem::MaybeUninit::uninit(); 9_000];
    loop {
        let mut buffer = ReadBuf::uninit(&mut memory);
        buffer.put_slice(b"kept");
        buffer.initialize_unfilled_to(all.len() % 100);
        poll_fn(|cx| from.as_mut().poll_read(cx, &mut buffer)).await?;
        assert!(buffer.filled().starts_with(b"kept"));
        match &buffer.filled()[4..] {
            [] => break,
            new => all.extend_from_slice(new),
        }
    }
    // A buffer without room is no end and no wait.
    let mut full = ReadBuf::new(&mut []);
    poll_fn(|cx| from.as_mut().poll_read(cx, &mut full)).await?;
    Ok(all)
}

/// One end sends, the other receives.
async fn across(
    one: impl AsyncRead + AsyncWrite + Unpin + 'static,
    two: impl AsyncRead + AsyncWrite + Unpin,
    seed: u64,
) {
    let sending = spawn(async move {
        let mut one = one;
        send(&mut one, seed).await?;
        receive(one).await // the end, as nothing comes back
    });
    let mut two = two;
    assert!(receive(&mut two).await.unwrap() == pattern(seed, LENGTH));
    poll_fn(|cx| Pin::new(&mut two).poll_shutdown(cx)).await.unwrap();
    assert_eq!(sending.await.unwrap().unwrap(), b"");
}

#[test]
fn connections_of_all_kinds_speak_tokios_traits() {
    run(async {
        let (one, two) = pair().await;
        across(one, two, 1).await;
        let (one, two) = UnixStream::pair().unwrap();
        across(one, two, 2).await;
        let (one, two) = Link::new(testing::seed()).short_reads().short_writes().pair();
        across(one, two, 3).await;
    });
}

#[test]
fn halves_of_all_kinds_speak_tokios_traits() {
    run(async {
        let (one, two) = pair().await;
        let (_reader, writer) = one.into_split();
        let (reader, _writer) = two.into_split();
        let sending = spawn(send(writer, 4));
        assert!(receive(reader).await.unwrap() == pattern(4, LENGTH));
        sending.await.unwrap().unwrap();

        let (mut one, two) = UnixStream::pair().unwrap();
        let receiving = spawn(receive(two));
        let (_reader, writer) = one.split();
        send(writer, 5).await.unwrap();
        assert!(receiving.await.unwrap().unwrap() == pattern(5, LENGTH));

        let (one, two) = Link::new(testing::seed()).pair();
        let (_reader, writer) = one.into_split();
        let (reader, _writer) = two.into_split();
        let sending = spawn(send(writer, 6));
        assert!(receive(reader).await.unwrap() == pattern(6, LENGTH));
        sending.await.unwrap().unwrap();
    });
}

#[test]
fn a_tunnel_speaks_tokios_traits() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let server = Server::start(listener, |request: Request<Body>| async {
            let (tunnel, response) = Tunnel::accept(request.into_body());
            spawn(async move {
                let mut tunnel = tunnel;
                let all = receive(&mut tunnel).await.unwrap();
                assert!(all == pattern(7, LENGTH));
                send(&mut tunnel, 8).await.unwrap();
            });
            response
        });
        let address = server.unwrap().local_addr();
        let mut connection = client::connect(address).await.unwrap();
        let (outgoing, body) = Body::channel();
        let request = Request::builder().method(Method::CONNECT).uri("far:1").body(body).unwrap();
        let response = connection.send(request).await.unwrap();
        let mut tunnel = Tunnel::new(response.into_body(), outgoing);
        send(&mut tunnel, 7).await.unwrap();
        assert!(receive(&mut tunnel).await.unwrap() == pattern(8, LENGTH));
    });
}

#[test]
fn a_codec_of_tokio_util_frames_what_goes_over_our_sockets() {
    run(async {
        let (one, two) = pair().await;
        let (mut client, mut server) =
            (Framed::new(one, LengthDelimitedCodec::new()), Framed::new(two, LengthDelimitedCodec::new()));
        spawn(async move {
            while let Some(Ok(frame)) = server.next().await {
                server.send(frame.freeze()).await.unwrap();
            }
        });
        for length in [0, 1, 100_000] {
            let sent = Bytes::from(pattern(9, length));
            client.send(sent.clone()).await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap(), sent);
        }

        let (one, two) = UnixStream::pair().unwrap();
        let (_reader, writer) = one.into_split();
        let mut lines = FramedWrite::new(writer, LinesCodec::new());
        lines.send("first").await.unwrap();
        lines.send("second").await.unwrap();
        drop(lines);
        let read: Vec<_> = FramedRead::new(two, LinesCodec::new()).map(Result::unwrap).collect().await;
        assert_eq!(read, ["first", "second"]);
    });
}
