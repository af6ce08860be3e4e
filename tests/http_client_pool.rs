//! `http::client::Client`: which connections it opens, shares, keeps and gives up, and what it sends again.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use support::{
    h2::{DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Raw, frame},
    scripted::{Scripted, accept, answer, head},
};
use wakering::{
    CancellationToken,
    http::{
        Body, Config, HeaderValue, Method, Protocol, Request, Response, Server, StatusCode,
        client::{Client, ClientBuilder, Kind},
    },
    net::TcpListener,
    spawn,
    time::sleep,
    yield_now,
};

const REFUSED_STREAM: u32 = 7;

thread_local! {
    /// Whether a handler of this test's server has begun with `/held`, and what lets it end.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
    static HELD: CancellationToken = CancellationToken::new();
}

fn start_server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::start(listener, |request: Request<Body>| async move {
        match request.uri().path() {
            "/slow" => sleep(Duration::from_millis(20)).await,
            "/held" => {
                AT_WORK.set(true);
                HELD.with(CancellationToken::clone).cancelled().await;
            }
            "/never" => std::future::pending().await,
            _ => {}
        }
        Response::new("ok".into())
    })
    .unwrap()
}

/// Runs a test with a client and a server of ours; nothing must be left of the client when it is gone.
fn with_server<F: Future<Output = ()>>(builder: ClientBuilder, test: impl FnOnce(Client, String) -> F) {
    wakering::run(async {
        let server = start_server();
        test(builder.build(), format!("http://{}", server.local_addr())).await;
        let stopped = server.stop(Duration::from_secs(60)).await;
        assert_eq!(stopped.aborted_connections, 0, "a connection outlives its client");
    })
    .unwrap();
}

/// Runs a test against a script; the script ends before the runtime does.
fn against<F: Future<Output = ()>>(
    script: impl FnOnce(&std::net::TcpListener) + Send + 'static,
    test: impl FnOnce(SocketAddr) -> F,
) {
    let server = Scripted::start(script);
    wakering::run(async {
        test(server.address).await;
        wakering::spawn_blocking(|| server.end()).unwrap().await.unwrap();
    })
    .unwrap();
}

async fn text(response: Response<Body>) -> Bytes {
    response.into_body().collect(1 << 20).await.unwrap()
}

fn post(address: SocketAddr, body: impl Into<Body>) -> Request<Body> {
    Request::post(format!("http://{address}/")).body(body.into()).unwrap()
}

fn rst(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn goaway(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &[0; 4]].concat())
}

/// Reads to the end of a connection that the client gives up.
fn to_the_end(raw: &mut Raw) {
    while raw.read().is_some() {}
}

async fn eventually(mut done: impl FnMut() -> bool) -> bool {
    let patience = Instant::now() + Duration::from_secs(30);
    while !done() && Instant::now() < patience {
        sleep(Duration::from_millis(1)).await;
    }
    done()
}

#[test]
fn requests_to_a_new_host_share_one_connection() {
    with_server(Client::builder(), |client, url| async move {
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                spawn(async move { text(client.get(url).await.unwrap()).await })
            })
            .collect();
        yield_now().await;
        for call in calls {
            assert_eq!(call.await.unwrap(), "ok");
            assert_eq!(client.connections(), 1);
        }
    });
}

#[test]
fn connections_are_opened_up_to_the_bound_when_those_there_are_full() {
    let builder = Client::builder().streams_per_connection(2).connections_per_host(3);
    with_server(builder, |client, url| async move {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (client, url) = (client.clone(), format!("{url}/slow"));
                spawn(async move { text(client.get(url).await.unwrap()).await })
            })
            .collect();
        let mut most = 0;
        for call in calls {
            assert_eq!(call.await.unwrap(), "ok");
            most = most.max(client.connections());
        }
        assert_eq!(most, 3);
    });
}

#[test]
fn a_connection_without_requests_expires() {
    let config = Config { idle_timeout: Duration::from_millis(150), ..Config::default() };
    with_server(Client::builder().http2(config), |client, url| async move {
        text(client.get(&url).await.unwrap()).await;
        assert_eq!(client.connections(), 1);
        assert!(eventually(|| client.connections() == 0).await);
        text(client.get(&url).await.unwrap()).await;
    });
}

#[test]
fn the_connection_that_was_used_least_recently_goes_when_too_many_are_idle() {
    wakering::run(async {
        let servers = [start_server(), start_server(), start_server()];
        let client = Client::builder().idle_connections(2).build();
        for server in &servers {
            text(client.get(format!("http://{}", server.local_addr())).await.unwrap()).await;
        }
        assert!(eventually(|| client.connections() == 2).await);
        assert!(eventually(|| servers[0].metrics().connections_open == 0).await, "it was the oldest");
        let open = servers[1..].iter().map(|server| server.metrics().connections_open);
        assert_eq!(open.sum::<u64>(), 2);
        client.shutdown().await;
        for server in servers {
            assert_eq!(server.stop(Duration::from_secs(60)).await.aborted_connections, 0);
        }
    })
    .unwrap();
}

// RFC 9113 §8.7: what may be sent again.

#[test]
fn a_request_behind_goaway_is_sent_again_on_another_connection() {
    let script = |listener: &std::net::TcpListener| {
        let mut old = accept(listener, &[]);
        assert_eq!((old.request(), old.request()), (1, 3));
        old.send(&goaway(1));
        let mut new = accept(listener, &[]);
        let stream = new.request();
        assert_eq!(new.content(stream), b"second");
        new.send(&answer(stream, b"new"));
        old.send(&answer(1, b"old"));
        to_the_end(&mut old);
        to_the_end(&mut new);
    };
    against(script, |address| async move {
        let client = Client::new();
        let calls = ["first", "second"].map(|body| {
            let client = client.clone();
            spawn(async move { text(client.request(post(address, body)).await.unwrap()).await })
        });
        let [first, second] = calls;
        assert_eq!(second.await.unwrap(), "new");
        assert_eq!(first.await.unwrap(), "old");
    });
}

#[test]
fn a_refused_request_is_sent_again_a_few_times() {
    let script = |listener: &std::net::TcpListener| {
        let mut raw = accept(listener, &[]);
        for _ in 0..3 {
            let stream = raw.request();
            raw.send(&rst(stream, REFUSED_STREAM));
        }
        let stream = raw.request();
        raw.send(&answer(stream, b"at last"));
        to_the_end(&mut raw);
    };
    against(script, |address| async move {
        let client = Client::new();
        assert_eq!(text(client.request(post(address, "again")).await.unwrap()).await, "at last");
    });
}

#[test]
fn the_last_of_the_attempts_that_are_allowed_says_what_it_met() {
    let script = |listener: &std::net::TcpListener| {
        let mut raw = accept(listener, &[]);
        for _ in 0..2 {
            let stream = raw.request();
            raw.send(&rst(stream, REFUSED_STREAM));
        }
        let last = raw.read_until(|frame| frame.kind == GOAWAY || frame.kind == HEADERS);
        assert_eq!(last.kind, GOAWAY, "it was to be sent again once");
    };
    against(script, |address| async move {
        let client = Client::builder().retries(1).build();
        let error = client.request(post(address, "again")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Refused, true));
    });
}

#[test]
fn content_made_piece_by_piece_is_sent_again_only_while_it_is_untouched() {
    let script = |listener: &std::net::TcpListener| {
        let mut raw = accept(listener, &[]);
        let touched = raw.request();
        raw.next(DATA);
        raw.send(&rst(touched, REFUSED_STREAM));
        let untouched = raw.request();
        raw.send(&rst(untouched, REFUSED_STREAM));
        let again = raw.request();
        raw.send(&head(again, 0, &[(":status", "100")]));
        assert_eq!(raw.content(again), b"whole");
        raw.send(&answer(again, b"ok"));
        to_the_end(&mut raw);
    };
    against(script, |address| async move {
        let client = Client::new();
        let (mut sender, body) = Body::channel();
        sender.send("a piece".into()).await.unwrap();
        let error = client.request(post(address, body)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        let (mut sender, body) = Body::channel();
        sender.send("whole".into()).await.unwrap();
        sender.finish();
        let mut request = post(address, body);
        // Nobody asks for the content before the peer does.
        request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
        assert_eq!(text(client.request(request).await.unwrap()).await, "ok");
    });
}

#[test]
fn a_request_that_may_have_been_processed_is_not_sent_again() {
    let script = |listener: &std::net::TcpListener| {
        let mut raw = accept(listener, &[]);
        raw.request();
        drop(raw);
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody comes again");
    };
    against(script, |address| async move {
        let error = Client::new().get(format!("http://{address}/")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Closed, false), "{error:?}");
    });
}

#[test]
fn a_connection_that_its_peer_ended_leaves_the_pool() {
    let script = |listener: &std::net::TcpListener| {
        for text in ["first", "second"] {
            let mut raw = accept(listener, &[]);
            let stream = raw.request();
            raw.send(&answer(stream, text.as_bytes()));
            if text == "second" {
                to_the_end(&mut raw);
            }
        }
    };
    against(script, |address| async move {
        let client = Client::new();
        assert_eq!(text(client.request(post(address, "")).await.unwrap()).await, "first");
        assert!(eventually(|| client.connections() == 0).await);
        assert_eq!(text(client.request(post(address, "")).await.unwrap()).await, "second");
    });
}

#[test]
fn a_low_limit_that_comes_late_costs_only_attempts() {
    // 30 requests leave before the peer says that it takes one at a time; it refuses the rest.
    let script = |listener: &std::net::TcpListener| {
        let mut raw = accept(listener, &[(3, 1)]);
        let mut answered = 0;
        while answered < 30 {
            let stream = raw.request();
            if stream > 1 && stream < 61 {
                raw.send(&rst(stream, REFUSED_STREAM));
            } else {
                raw.send(&answer(stream, b"ok"));
                answered += 1;
            }
        }
        to_the_end(&mut raw);
    };
    against(script, |address| async move {
        let client = Client::builder().connections_per_host(1).build();
        let calls = [(); 30].map(|()| {
            let client = client.clone();
            spawn(async move { text(client.request(post(address, "")).await.unwrap()).await })
        });
        drop(client);
        for call in calls {
            assert_eq!(call.await.unwrap(), "ok");
        }
    });
}

// Waiting.

#[test]
fn an_attempt_to_connect_that_fails_fails_everybody_who_waits_for_it() {
    wakering::run(async {
        let client = Client::new();
        let calls = [(); 10].map(|()| {
            let client = client.clone();
            spawn(async move { client.get("http://127.0.0.1:1/").await.unwrap_err() })
        });
        for call in calls {
            let error = call.await.unwrap();
            assert!(error.is_connect() && error.is_retryable(), "{error:?}");
        }
        assert_eq!(client.connections(), 0);
    })
    .unwrap();
}

#[test]
fn a_time_limit_holds_while_a_request_waits_and_while_it_runs() {
    let builder = Client::builder().streams_per_connection(1).connections_per_host(1);
    with_server(builder, |client, url| async move {
        text(client.get(&url).await.unwrap()).await;
        let holder = spawn({
            let (client, url) = (client.clone(), format!("{url}/never"));
            async move { client.get(url).timeout(Duration::from_millis(1500)).await.unwrap_err() }
        });
        yield_now().await;
        let waiting = client.get(&url).timeout(Duration::from_millis(10)).await.unwrap_err();
        assert!(waiting.is_timeout() && waiting.is_retryable(), "it was never sent: {waiting:?}");
        let running = holder.await.unwrap();
        assert!(running.is_timeout() && !running.is_retryable(), "{running:?}");
        assert_eq!(text(client.get(&url).await.unwrap()).await, "ok", "the place is free again");
    });
}

#[test]
fn a_call_that_is_dropped_leaves_the_line_wherever_it_stands() {
    let builder = Client::builder().streams_per_connection(1).connections_per_host(1);
    with_server(builder, |client, url| async move {
        // One is under way or connecting, the others wait; each is dropped at some point of that.
        for polls in 0..8 {
            let calls = [(); 3].map(|()| {
                let (client, url) = (client.clone(), format!("{url}/slow"));
                spawn(async move { drop(client.get(url).await) })
            });
            for _ in 0..polls {
                sleep(Duration::from_millis(3)).await;
            }
            for call in &calls {
                call.abort();
            }
            for call in calls {
                let _ = call.await;
            }
            assert_eq!(text(client.get(&url).await.unwrap()).await, "ok", "after {polls} polls");
        }
    });
}

#[test]
fn interim_responses_reach_the_callback() {
    let script = |listener: &std::net::TcpListener| {
        let mut raw = accept(listener, &[]);
        let stream = raw.request();
        raw.send(&head(stream, 0, &[(":status", "103"), ("link", "</a>")]));
        raw.send(&head(stream, END_STREAM, &[(":status", "204")]));
        to_the_end(&mut raw);
    };
    against(script, |address| async move {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let note = seen.clone();
        let client = Client::new();
        let call = client.request(post(address, "")).on_interim(move |interim| {
            note.borrow_mut().push(interim.status().as_u16());
        });
        assert_eq!(call.await.unwrap().status(), StatusCode::NO_CONTENT);
        assert_eq!(*seen.borrow(), [103]);
    });
}

#[test]
fn names_are_looked_up_and_may_be_told() {
    wakering::run(async {
        let server = start_server();
        let address = server.local_addr();
        let client = Client::builder().resolve("example.test", vec![address]).build();
        let url = format!("http://Example.test:{}/", address.port());
        let told = client.get(url.to_lowercase()).await.unwrap();
        assert_eq!(text(told).await, "ok");
        let mut named = Request::get("/path").body(Body::empty()).unwrap();
        named.headers_mut().insert("host", address.to_string().parse().unwrap());
        assert_eq!(text(client.request(named).await.unwrap()).await, "ok");
        let looked_up = client.get(format!("http://localhost:{}/", address.port())).await.unwrap();
        assert_eq!(text(looked_up).await, "ok");
        // A label that is too long: the resolver says no without asking anybody.
        let nobody = format!("http://{}.invalid/", "x".repeat(64));
        let error = client.get(nobody).await.unwrap_err();
        assert!(error.is_connect() && error.kind() == Kind::Resolve, "{error:?}");
        for target in ["https://127.0.0.1/", "http://user:password@127.0.0.1:1/", "/path", "not a target"] {
            assert_eq!(client.get(target).await.unwrap_err().kind(), Kind::Misuse, "{target}");
        }
        client.shutdown().await;
        server.stop(Duration::from_secs(60)).await;
    })
    .unwrap();
}

#[test]
fn shutting_down_lets_requests_finish_and_fails_those_that_wait() {
    let builder = Client::builder().streams_per_connection(1).connections_per_host(1);
    with_server(builder, |client, url| async move {
        let calls = [(); 2].map(|()| {
            let (client, url) = (client.clone(), format!("{url}/held"));
            spawn(async move { client.get(url).await })
        });
        assert!(eventually(|| AT_WORK.get()).await);
        let ending = spawn(async move { client.shutdown().await });
        yield_now().await;
        HELD.with(CancellationToken::cancel);
        ending.await.unwrap();
        let [running, waiting] = calls;
        assert_eq!(text(running.await.unwrap().unwrap()).await, "ok");
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Kind::Closed, true), "{error:?}");
    });
}

// RFC 8441 §3: only what the peer has announced.

#[test]
fn extended_connect_waits_for_the_peers_settings() {
    let script = |listener: &std::net::TcpListener| {
        let mut raw = accept(listener, &[(8, 1)]);
        let stream = raw.request();
        raw.send(&head(stream, END_STREAM, &[(":status", "200")]));
        to_the_end(&mut raw);
        drop(raw);
        to_the_end(&mut accept(listener, &[]));
    };
    against(script, |address| async move {
        let websocket = || {
            let request = Request::builder().method(Method::CONNECT).uri(format!("http://{address}/chat"));
            request.extension(Protocol::WEBSOCKET).body(Body::empty()).unwrap()
        };
        let client = Client::new();
        assert_eq!(client.request(websocket()).await.unwrap().status(), 200);
        client.shutdown().await;
        let error = Client::new().request(websocket()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error:?}");
    });
}

#[test]
fn a_time_limit_is_told_as_one_while_interim_responses_are_waited_for() {
    with_server(Client::builder(), |client, url| async move {
        let call = client.get(format!("{url}/never")).timeout(Duration::from_millis(20)).on_interim(drop);
        let error = call.await.unwrap_err();
        assert!(error.is_timeout() && !error.is_retryable(), "{error:?}");
    });
}
