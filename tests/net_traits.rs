//! `futures_io::{AsyncRead, AsyncWrite}` over connections, their halves and HTTP/2 tunnels (feature `futures-io`).
#![cfg(feature = "futures-io")]

#[path = "support/net.rs"]
mod support;

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    rc::Rc,
};

use async_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{SinkExt, StreamExt};
use support::{pair, pattern, run};
use wakering::{
    http::{Body, Method, Reason, Request, Server, Tunnel, client},
    net::{TcpListener, UnixStream},
    spawn,
};

const LENGTH: usize = 300_000;

/// Sends a pattern in two slices at a time, then flushes and closes, knowing nothing but the trait.
async fn send(mut to: impl AsyncWrite + Unpin, seed: u64) -> io::Result<()> {
    let all = pattern(seed, LENGTH);
    let mut rest = &all[..];
    while !rest.is_empty() {
        let (first, second) = rest.split_at(rest.len() / 2);
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let mut to = Pin::new(&mut to);
        let written = match rest.len() % 2 {
            0 => poll_fn(|cx| to.as_mut().poll_write_vectored(cx, &slices)).await?,
            _ => poll_fn(|cx| to.as_mut().poll_write(cx, rest)).await?,
        };
        rest = &rest[written..];
    }
    let mut to = Pin::new(&mut to);
    poll_fn(|cx| to.as_mut().poll_flush(cx)).await?;
    poll_fn(|cx| to.as_mut().poll_close(cx)).await?;
    // Closing what is closed is no error.
    poll_fn(|cx| to.as_mut().poll_close(cx)).await
}

/// Receives to the end, plain and vectored in turn.
async fn receive(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let (mut one, mut two) = ([0; 1_000], [0; 9_000]);
    let mut from = Pin::new(&mut from);
    for turn in 0_u32.. {
        let read = if turn % 2 == 0 {
            let read = poll_fn(|cx| from.as_mut().poll_read(cx, &mut two)).await?;
            all.extend_from_slice(&two[..read]);
            read
        } else {
            let mut slices = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
            let read = poll_fn(|cx| from.as_mut().poll_read_vectored(cx, &mut slices)).await?;
            all.extend_from_slice(&one[..read.min(1_000)]);
            all.extend_from_slice(&two[..read.saturating_sub(1_000)]);
            read
        };
        if read == 0 {
            break;
        }
    }
    Ok(all)
}

#[test]
fn whole_connections_and_both_kinds_of_halves_speak_the_traits() {
    run(async {
        let (one, two) = pair().await;
        let sending = spawn(send(one, 1));
        assert!(receive(two).await.unwrap() == pattern(1, LENGTH));
        sending.await.unwrap().unwrap();

        let (one, two) = pair().await;
        let (_reader, writer) = one.into_split();
        let (reader, _writer) = two.into_split();
        let sending = spawn(send(writer, 2));
        assert!(receive(reader).await.unwrap() == pattern(2, LENGTH));
        sending.await.unwrap().unwrap();

        let (mut one, two) = pair().await;
        let receiving = spawn(receive(two));
        let (_reader, writer) = one.split();
        send(writer, 3).await.unwrap();
        assert!(receiving.await.unwrap().unwrap() == pattern(3, LENGTH));
    });
}

#[test]
fn unix_connections_and_their_halves_speak_the_traits() {
    run(async {
        let (one, two) = UnixStream::pair().unwrap();
        let sending = spawn(send(one, 4));
        assert!(receive(two).await.unwrap() == pattern(4, LENGTH));
        sending.await.unwrap().unwrap();

        let (one, two) = UnixStream::pair().unwrap();
        let (_reader, writer) = one.into_split();
        let (reader, _writer) = two.into_split();
        let sending = spawn(send(writer, 5));
        assert!(receive(reader).await.unwrap() == pattern(5, LENGTH));
        sending.await.unwrap().unwrap();
    });
}

/// Both ends of a tunnel through a server (RFC 9113 §8.5): the client's and the handler's.
async fn tunnel() -> (Tunnel, Tunnel, client::SendRequest) {
    let far: Rc<RefCell<Option<Tunnel>>> = Rc::default();
    let kept = far.clone();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = Server::start(listener, move |request: Request<Body>| {
        let (tunnel, response) = Tunnel::accept(request.into_body());
        *kept.borrow_mut() = Some(tunnel);
        std::future::ready(response)
    });
    let address = server.expect("a server").local_addr();
    let mut connection = client::connect(address).await.expect("a connection");
    let (outgoing, body) = Body::channel();
    let request = Request::builder().method(Method::CONNECT).uri("far:1").body(body).expect("a request");
    let response = connection.send(request).await.expect("an answer");
    let far = far.borrow_mut().take().expect("the handler has answered");
    (Tunnel::new(response.into_body(), outgoing), far, connection)
}

#[test]
fn a_tunnel_carries_what_a_socket_does_and_closes_one_direction_at_a_time() {
    run(async {
        let (mut near, mut far, _connection) = tunnel().await;
        let sending = spawn(async move {
            send(&mut near, 7).await.expect("all is taken");
            let broken = poll_fn(|cx| Pin::new(&mut near).poll_write(cx, b"late")).await;
            assert_eq!(broken.expect_err("it is closed").kind(), io::ErrorKind::BrokenPipe);
            receive(&mut near).await.expect("the other direction is open")
        });
        assert_eq!(receive(&mut far).await.expect("all comes"), pattern(7, LENGTH));
        send(&mut far, 8).await.expect("all is taken");
        assert_eq!(sending.await.expect("no panic"), pattern(8, LENGTH));
    });
}

#[test]
fn a_tunnel_that_was_reset_or_lost_is_an_error_of_its_kind() {
    run(async {
        let (mut near, far, connection) = tunnel().await;
        far.reset(Reason::CONNECT_ERROR);
        let error = receive(&mut near).await.expect_err("it was reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(error.to_string().contains("CONNECT_ERROR"), "{error}");
        drop((near, connection));

        let (near, mut far, connection) = tunnel().await;
        drop(near);
        let error = receive(&mut far).await.expect_err("it was dropped");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let broken = send(&mut far, 9).await.expect_err("nobody takes it");
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
        drop(connection);
    });
}

#[test]
fn a_crate_that_is_bound_to_the_traits_runs_over_our_sockets() {
    run(async {
        let (one, two) = UnixStream::pair().unwrap();
        websockets(one, two).await;
        let (one, two) = pair().await;
        websockets(one, two).await;
    });
}

/// A WebSocket each way over a connection, by a crate that knows the traits only.
async fn websockets<T: AsyncRead + AsyncWrite + Unpin + 'static>(one: T, two: T) {
    let server = WebSocketStream::from_raw_socket(one, Role::Server, None).await;
    let mut client = WebSocketStream::from_raw_socket(two, Role::Client, None).await;
    let echo = spawn(async move {
        let mut server = server;
        while let Some(Ok(message)) = server.next().await {
            if !message.is_close() {
                SinkExt::send(&mut server, message).await.expect("the client reads");
            }
        }
    });
    for length in [0, 5, 200_000] {
        let sent = Message::binary(pattern(10, length));
        SinkExt::send(&mut client, sent.clone()).await.expect("the server reads");
        assert!(client.next().await.expect("an echo").expect("no error") == sent);
    }
    client.close(None).await.expect("it is open");
    while let Some(Ok(_)) = client.next().await {}
    echo.await.expect("no panic");
}
