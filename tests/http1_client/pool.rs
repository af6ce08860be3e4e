//! Which connections a pool opens, keeps and gives up, and what it sends again.

use std::{
    cell::Cell,
    future::{Future, IntoFuture, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::mpsc::{Receiver, channel},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use wakering::{
    Handle,
    http::{
        Body, Config, Http1, Method, Request, Response, Server,
        client::{Client, ClientBuilder, Kind},
    },
    net::TcpListener,
    spawn, spawn_blocking,
    time::sleep,
};

use crate::http1_server::{ByHand, accept};

fn older() -> ClientBuilder {
    Client::builder().http1_in_cleartext().timeout(Duration::from_secs(30))
}

/// Runs `test` with a client, and waits for the script of the server that it asks.
fn against<F: Future<Output = ()>>(
    builder: ClientBuilder,
    script: impl FnOnce(&std::net::TcpListener) + Send + 'static,
    test: impl FnOnce(Client, String) -> F,
) {
    let server = ByHand::start(script);
    let url = server.url("/");
    wakering::run(async move {
        test(builder.build(), url).await;
        spawn_blocking(|| server.end()).unwrap().await.unwrap();
    })
    .unwrap();
}

async fn text(response: Response<Body>) -> Bytes {
    response.into_body().collect(1 << 20).await.unwrap()
}

async fn get(client: &Client, url: &str) -> Bytes {
    text(client.get(url).await.unwrap()).await
}

fn post(url: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(url).body(body.into()).unwrap()
}

/// Waits for a word from the script.
async fn hear<T: Send + 'static>(told: &Rc<Cell<Option<Receiver<T>>>>) -> T {
    let receiver = told.take().unwrap();
    let (heard, receiver) =
        spawn_blocking(move || (receiver.recv().unwrap(), receiver)).unwrap().await.unwrap();
    told.set(Some(receiver));
    heard
}

/// The client has heard of it.
async fn has_no_connections(client: &Client) {
    while client.connections() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn requests_one_after_the_other_share_a_connection() {
    let script = |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        for _ in 0..3 {
            peer.request();
            peer.answer("ok");
        }
        assert!(peer.ends());
    };
    against(older(), script, |client, url| async move {
        for _ in 0..3 {
            assert_eq!(get(&client, &url).await, "ok");
            assert_eq!(client.connections(), 1);
        }
    });
}

#[test]
fn requests_at_once_have_a_connection_each_up_to_the_bound_and_then_wait() {
    let script = |listener: &std::net::TcpListener| {
        // None is answered before all connections are there.
        let mut peers = [accept(listener), accept(listener), accept(listener)];
        for peer in &mut peers {
            peer.request();
        }
        // The fourth and fifth come on the one that becomes free.
        peers[1].answer("middle");
        for _ in 0..2 {
            assert_eq!(peers[1].request().line, "GET / HTTP/1.1");
            peers[1].answer("middle");
        }
        peers[0].answer("first");
        peers[2].answer("last");
        for peer in &mut peers {
            assert!(peer.ends());
        }
    };
    against(older().connections_per_host(3), script, |client, url| async move {
        let calls: Vec<_> = (0..5)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                spawn(async move { get(&client, &url).await })
            })
            .collect();
        drop(client);
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        answers.sort();
        assert_eq!(answers, ["first", "last", "middle", "middle", "middle"]);
    });
}

#[test]
fn another_host_has_other_connections() {
    let (one, other) = (
        ByHand::serving(|peer| {
            peer.request();
            peer.answer("one");
            assert!(peer.ends());
        }),
        ByHand::serving(|peer| {
            peer.request();
            peer.answer("other");
            assert!(peer.ends());
        }),
    );
    wakering::run(async {
        let client = older().build();
        assert_eq!(get(&client, &one.url("/")).await, "one");
        assert_eq!(get(&client, &other.url("/")).await, "other");
        assert_eq!(client.connections(), 2);
        client.shutdown().await;
    })
    .unwrap();
    one.end();
    other.end();
}

#[test]
fn connections_without_requests_expire_and_those_beyond_the_bound_go() {
    let config = Config { idle_timeout: Duration::from_millis(50), ..Config::default() };
    let script = |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        peer.request();
        peer.answer("ok");
        assert!(peer.ends());
    };
    for builder in [older().http2(config), older().idle_connections(0)] {
        against(builder, script, |client, url| async move {
            assert_eq!(get(&client, &url).await, "ok");
            has_no_connections(&client).await;
        });
    }
}

#[test]
fn a_connection_whose_answer_closes_it_is_not_used_again() {
    let script = |listener: &std::net::TcpListener| {
        for _ in 0..2 {
            let mut peer = accept(listener);
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
            assert!(peer.ends());
        }
    };
    against(older(), script, |client, url| async move {
        for _ in 0..2 {
            let response = client.request(post(&url, "x")).await.unwrap();
            assert_eq!(text(response).await, "ok");
        }
    });
}

// RFC 9112 §9.3.1: what may be sent again.

/// Serves one request on a connection, and closes it on the next without a word; then serves what comes on another.
fn closes_on_the_second(listener: &std::net::TcpListener, again: bool) {
    let mut peer = accept(listener);
    peer.request();
    peer.answer("first");
    let lost = peer.request();
    drop(peer);
    if again {
        let mut peer = accept(listener);
        assert_eq!(peer.request(), lost);
        peer.answer("again");
        assert!(peer.ends());
    }
}

#[test]
fn a_request_that_a_kept_connection_lost_is_sent_again_if_it_does_no_harm() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE] {
        against(
            older(),
            |listener| closes_on_the_second(listener, true),
            |client, url| async move {
                assert_eq!(get(&client, &url).await, "first");
                let body = if method == Method::PUT { "content".into() } else { Body::empty() };
                let request = Request::builder().method(method.clone()).uri(&url).body(body).unwrap();
                let response = client.request(request).await.unwrap();
                assert_eq!(response.status(), 200, "{method}");
                client.shutdown().await;
            },
        );
    }
}

#[test]
fn a_request_that_may_do_harm_is_not_sent_again() {
    let (mut sender, body) = Body::channel();
    let streamed = move |url: &str| {
        spawn(async move { while sender.send("piece".into()).await.is_ok() {} });
        Request::put(url).body(body).unwrap()
    };
    let posted = |url: &str| post(url, "content");
    let patched = |url: &str| Request::patch(url).body(Body::empty()).unwrap();
    // What was begun to be read cannot be sent twice, whatever the method.
    type Make = Box<dyn FnOnce(&str) -> Request<Body>>;
    let requests: [Make; 3] = [Box::new(posted), Box::new(patched), Box::new(streamed)];
    for request in requests {
        let script = |listener: &std::net::TcpListener| {
            let mut peer = accept(listener);
            peer.request();
            peer.answer("first");
            peer.head();
            peer.socket.shutdown(std::net::Shutdown::Write).unwrap();
            peer.drain();
        };
        against(older(), script, |client, url| async move {
            assert_eq!(get(&client, &url).await, "first");
            let error = client.request(request(&url)).await.unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (Kind::Closed, false), "{error}");
            assert!(error.to_string().contains("the peer closed before it answered"), "{error}");
        });
    }
}

#[test]
fn a_request_is_not_sent_again_when_the_connection_was_new_or_an_answer_had_begun() {
    let new = |listener: &std::net::TcpListener| {
        accept(listener).request();
    };
    against(older(), new, |client, url| async move {
        let error = client.get(&url).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Closed, false), "{error}");
    });
    let begun = |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        peer.request();
        peer.answer("first");
        peer.request();
        peer.send("HTTP/1.1 2");
    };
    against(older(), begun, |client, url| async move {
        assert_eq!(get(&client, &url).await, "first");
        let error = client.get(&url).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Closed, false), "{error}");
    });
}

#[test]
fn a_request_is_sent_again_once_and_over_a_new_connection() {
    // Two connections are kept, and both have ended when the next request comes.
    let script = |listener: &std::net::TcpListener| {
        let mut peers = [accept(listener), accept(listener)];
        for peer in &mut peers {
            peer.request();
        }
        for peer in &mut peers {
            peer.answer("ok");
        }
        let [first, second] = &mut peers;
        // Whichever it comes on: the other one is given up with it, and a third is opened, which is lost, too.
        first.socket.set_nonblocking(true).unwrap();
        second.socket.set_nonblocking(true).unwrap();
        let on = loop {
            if first.socket.peek(&mut [0; 1]).is_ok() {
                break 0;
            }
            if second.socket.peek(&mut [0; 1]).is_ok() {
                break 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let [first, second] = peers;
        let (mut lost, mut other) = if on == 0 { (first, second) } else { (second, first) };
        lost.socket.set_nonblocking(false).unwrap();
        other.socket.set_nonblocking(false).unwrap();
        assert_eq!(lost.request().line, "GET / HTTP/1.1");
        drop(lost);
        assert!(other.ends());
        accept(listener).request();
    };
    against(older(), script, |client, url| async move {
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                spawn(async move { get(&client, &url).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "ok");
        }
        assert_eq!(client.connections(), 2);
        let error = client.get(&url).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Closed, "{error}");
    });
}

#[test]
fn a_request_that_cannot_be_repeated_finds_out_first_that_its_connection_has_ended() {
    let (ready, go) = channel();
    let (tell, told) = channel();
    let script = move |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        peer.request();
        peer.answer("first");
        go.recv().unwrap();
        drop(peer);
        tell.send(()).unwrap();
        let mut peer = accept(listener);
        assert_eq!(peer.request().content, b"content");
        peer.answer("posted");
        assert!(peer.ends());
    };
    against(older(), script, |client, url| async move {
        assert_eq!(get(&client, &url).await, "first");
        ready.send(()).unwrap();
        // On this thread, so that the selector is not looked at meanwhile: nobody has told the client.
        told.recv().unwrap();
        assert_eq!(client.connections(), 1);
        assert_eq!(text(client.request(post(&url, "content")).await.unwrap()).await, "posted");
        client.shutdown().await;
    });
}

#[test]
fn words_that_nobody_asked_for_end_a_kept_connection() {
    let (tell, told) = channel();
    let script = move |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        peer.request();
        peer.answer("first");
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged");
        tell.send(()).unwrap();
        let mut next = accept(listener);
        next.request();
        next.answer("genuine");
        assert!(peer.ends() && next.ends());
    };
    let told = Rc::new(Cell::new(Some(told)));
    against(older(), script, |client, url| async move {
        assert_eq!(get(&client, &url).await, "first");
        hear(&told).await;
        has_no_connections(&client).await;
        assert_eq!(get(&client, &url).await, "genuine");
        client.shutdown().await;
    });
}

/// What a server says while its client computes is not taken for the answer to the next request.
#[test]
fn words_that_came_unnoticed_are_no_answer_to_the_next_request() {
    for method in [Method::GET, Method::POST] {
        let (ready, go) = channel();
        let (tell, told) = channel();
        let script = move |listener: &std::net::TcpListener| {
            let mut peer = accept(listener);
            peer.request();
            peer.answer("first");
            go.recv().unwrap();
            peer.answer("forged");
            tell.send(()).unwrap();
            let mut next = accept(listener);
            next.request();
            next.answer("genuine");
            assert!(peer.ends() && next.ends());
        };
        against(older(), script, |client, url| async move {
            assert_eq!(get(&client, &url).await, "first");
            ready.send(()).unwrap();
            // On this thread, so that the selector is not looked at meanwhile.
            told.recv().unwrap();
            let request = Request::builder().method(method).uri(&url).body(Body::empty()).unwrap();
            assert_eq!(text(client.request(request).await.unwrap()).await, "genuine");
            client.shutdown().await;
        });
    }
}

/// RFC 9112 §9.3.1: what is sent again is not sent over a connection that may be about to end, too.
#[test]
fn a_request_that_was_lost_is_repeated_over_a_connection_that_was_never_used() {
    let script = |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        assert_eq!(peer.request().line, "GET /first HTTP/1.1");
        peer.answer("first");
        assert_eq!(peer.request().line, "GET /second HTTP/1.1");
        drop(peer);
        // One may be open, so that this one has to go although it could carry the second.
        let mut peer = accept(listener);
        assert_eq!(peer.request().line, "GET /third HTTP/1.1");
        peer.answer("third");
        assert!(peer.ends());
        let mut peer = accept(listener);
        assert_eq!(peer.request().line, "GET /second HTTP/1.1");
        peer.answer("second");
        assert!(peer.ends());
    };
    against(older().connections_per_host(1), script, |client, url| async move {
        let calls = ["first", "second", "third"].map(|path| {
            let (client, url) = (client.clone(), format!("{url}{path}"));
            spawn(async move { assert_eq!(get(&client, &url).await, path) })
        });
        for call in calls {
            call.await.unwrap();
        }
        client.shutdown().await;
    });
}

// Waiting, giving up, and the end.

#[test]
fn a_call_that_is_dropped_gives_its_place_to_the_next() {
    let (tell, told) = channel();
    let script = move |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        assert_eq!(peer.request().line, "GET /held HTTP/1.1");
        tell.send(()).unwrap();
        assert!(peer.ends());
        let mut peer = accept(listener);
        assert_eq!(peer.request().line, "GET / HTTP/1.1");
        peer.answer("served");
        assert!(peer.ends());
    };
    let told = Rc::new(Cell::new(Some(told)));
    against(older().connections_per_host(1), script, |client, url| async move {
        let held = spawn(client.get(format!("{url}held")).into_future());
        hear(&told).await;
        let mut dropped = client.get(format!("{url}dropped")).into_future();
        assert!(poll_once(&mut dropped).await.is_pending());
        let call = {
            let (client, url) = (client.clone(), url.clone());
            spawn(async move { get(&client, &url).await })
        };
        let mut dump = String::new();
        while !dump.contains("a connection with room for http://127.0.0.1:") {
            wakering::yield_now().await;
            dump = Handle::current().dump().to_string();
        }
        drop(dropped);
        held.abort();
        assert_eq!(call.await.unwrap(), "served");
        client.shutdown().await;
    });
}

async fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[test]
fn interim_responses_reach_the_callback() {
    let script = |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        peer.request();
        peer.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        peer.answer("ok");
        assert!(peer.ends());
    };
    against(older(), script, |client, url| async move {
        let seen = Rc::new(Cell::new(0));
        let note = seen.clone();
        let call = client.get(&url).on_interim(move |interim| note.set(interim.status().as_u16()));
        assert_eq!(text(call.await.unwrap()).await, "ok");
        assert_eq!(seen.get(), 103);
        client.shutdown().await;
    });
}

#[test]
fn shutting_down_lets_the_request_finish_and_fails_those_that_wait() {
    let (tell, told) = channel();
    let (ready, go) = channel();
    let script = move |listener: &std::net::TcpListener| {
        let mut peer = accept(listener);
        peer.request();
        tell.send(()).unwrap();
        go.recv().unwrap();
        peer.answer("served");
        assert!(peer.ends());
    };
    let told = Rc::new(Cell::new(Some(told)));
    against(older().connections_per_host(1), script, |client, url| async move {
        let served = {
            let (client, url) = (client.clone(), url.clone());
            spawn(async move { get(&client, &url).await })
        };
        hear(&told).await;
        let mut waits = client.get(&url).into_future();
        assert!(poll_once(&mut waits).await.is_pending());
        let shutdown = spawn(client.shutdown());
        assert_eq!(waits.await.unwrap_err().kind(), Kind::Closed);
        ready.send(()).unwrap();
        assert_eq!(served.await.unwrap(), "served");
        shutdown.await.unwrap();
    });
}

#[test]
fn a_host_that_refuses_is_not_asked_without_end() {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let client = older().build();
        let calls: Vec<_> = (0..8).map(|_| spawn(client.get(&url).into_future())).collect();
        for call in calls {
            assert!(call.await.unwrap().unwrap_err().is_connect());
        }
        assert_eq!(client.connections(), 0);
    })
    .unwrap();
}

/// A server of ours, with everything at once.
/// Nothing happens on the only connection that there is, so that nothing but the pause can have the client look again.
#[test]
fn who_waits_beside_a_silent_answer_is_served_when_the_host_takes_connections_again() {
    wakering::run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, client) = (listener.local_addr().unwrap(), older().build());
        let begun = spawn_blocking(move || {
            let mut peer = accept(&listener);
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            peer
        })
        .unwrap();
        let silent = client.get(format!("http://{address}/silent")).await.unwrap();
        let peer = begun.await.unwrap();

        let mut second = Box::pin(client.get(format!("http://{address}/second")).into_future());
        assert!(poll_once(&mut second).await.is_pending());
        assert_eq!(client.connections(), 2, "one is being opened");
        while client.connections() > 1 {
            sleep(Duration::from_millis(1)).await;
        }
        // Its port is the silent connection's, too, so that nobody else has got it meanwhile.
        let listener = std::net::TcpListener::bind(address).unwrap();
        let served = spawn_blocking(move || {
            let mut peer = accept(&listener);
            peer.request();
            peer.answer("ok");
            peer
        })
        .unwrap();
        assert_eq!(text(second.await.unwrap()).await, "ok");
        drop((silent, peer, served.await.unwrap()));
    })
    .unwrap();
}

#[test]
fn our_own_server_is_asked_two_thousand_things_at_once() {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let echo = |request: Request<Body>| async move {
            let mut response = Response::new(Body::empty());
            let method = request.method().clone();
            *response.body_mut() = request.into_body();
            response.headers_mut().insert("x-method", method.as_str().parse().unwrap());
            response
        };
        let server = Server::builder().http1(Http1::default()).start(listener, echo).unwrap();
        let client = older().connections_per_host(16).build();
        let calls: Vec<_> = (0..2000_usize)
            .map(|number| {
                let client = client.clone();
                spawn(async move {
                    let content = Bytes::from(number.to_string().repeat(number % 100 * (number % 7)));
                    let body = if number % 3 == 0 {
                        let (mut sender, body) = Body::channel();
                        let content = content.clone();
                        spawn(async move {
                            for piece in content.chunks(1000) {
                                sender.send(Bytes::copy_from_slice(piece)).await.unwrap();
                            }
                            sender.finish();
                        });
                        body
                    } else {
                        content.clone().into()
                    };
                    let response =
                        client.request(post(&format!("http://{address}/{number}"), body)).await.unwrap();
                    assert_eq!(response.headers()["x-method"], "POST");
                    assert_eq!(text(response).await, content);
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert!(client.connections() <= 16, "{}", client.connections());
        client.shutdown().await;
        server.stop(Duration::from_secs(30)).await;
    })
    .unwrap();
}
