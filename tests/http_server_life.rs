//! How a server ends: by whom, when, and what those learn who wait for it.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::{Future, pending},
    net::{Shutdown, SocketAddr},
    os::fd::OwnedFd,
    panic::resume_unwind,
    pin::pin,
    rc::Rc,
    sync::{Arc, OnceLock, mpsc},
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wakering::{
    dump::{TaskDump, Wait},
    http::{Body, Config, Request, Response, Server, ServerHandle, Stopped, client},
    net::TcpListener,
    time::{sleep, timeout},
};

const LONG: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(50);

/// A server whose handlers know it, and the order in which things happened.
struct House {
    address: SocketAddr,
    server: ServerHandle,
    log: Rc<RefCell<Vec<String>>>,
    at_work: Rc<Cell<usize>>,
}

impl House {
    fn start() -> House {
        let own: Rc<OnceCell<ServerHandle>> = Rc::default();
        let (log, at_work) = (Rc::<RefCell<Vec<String>>>::default(), Rc::<Cell<usize>>::default());
        let (handle, lines, count) = (own.clone(), log.clone(), at_work.clone());
        let handler = move |request: Request<Body>| {
            let server = handle.get().unwrap().clone();
            let (lines, count) = (lines.clone(), count.clone());
            async move {
                count.set(count.get() + 1);
                let said = act(request.uri().path(), &server).await;
                lines.borrow_mut().push(said.clone());
                Response::new(Body::from(said))
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
        let server = Server::start(listener, handler).unwrap_or_else(|error| panic!("{error}"));
        let (address, server) = (server.local_addr(), server.handle());
        assert!(own.set(server.clone()).is_ok());
        House { address, server, log, at_work }
    }

    /// Asks for a path on a connection of its own, in a task of its own; the answer is empty when there is none.
    fn ask(&self, path: &'static str) -> wakering::JoinHandle<String> {
        let address = self.address;
        wakering::spawn(async move {
            let mut connection = client::connect(address).await.unwrap();
            ask_on(&mut connection, address, path).await
        })
    }

    async fn until_at_work(&self, handlers: usize) {
        while self.at_work.get() < handlers {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn ask_on(connection: &mut client::SendRequest, address: SocketAddr, path: &str) -> String {
    let request = Request::get(format!("http://{address}{path}")).body(Body::empty()).unwrap();
    let Ok(response) = connection.send(request).await else { return String::new() };
    let content = response.into_body().collect(1000).await.unwrap_or_default();
    String::from_utf8(content.to_vec()).unwrap()
}

async fn act(path: &str, server: &ServerHandle) -> String {
    match path {
        "/shutdown" => {
            let stopped = server.shutdown(LONG).await;
            format!("shut down, {} aborted", stopped.aborted_handlers)
        }
        "/shutdown-soon" => {
            let stopped = server.shutdown(SOON).await;
            format!("shut down, {} aborted", stopped.aborted_handlers)
        }
        "/shutdown-and-stay" => {
            server.shutdown(SOON).await;
            pending().await
        }
        "/closed" => format!("{:?}", server.closed().await.map_err(|error| error.to_string())),
        "/slow" => {
            sleep(Duration::from_millis(100)).await;
            "slow".to_owned()
        }
        "/never" => pending().await,
        "/until-the-end" => {
            server.stopping().await;
            "the end is near".to_owned()
        }
        _ => "ok".to_owned(),
    }
}

#[test]
fn a_server_whose_listener_breaks_ends_and_says_so_to_those_who_wait() {
    wakering::run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // As whoever has a duplicate of it may: nobody can be accepted from it any more.
        let breaks = std::net::TcpStream::from(OwnedFd::from(listener.try_clone().unwrap()));
        let server =
            Server::start(TcpListener::from_std(listener).unwrap(), |_request: Request<Body>| async {
                Response::new(Body::from("answered"))
            });
        let server = server.unwrap();
        let mut kept = client::connect(address).await.unwrap();
        assert_eq!(ask_on(&mut kept, address, "/").await, "answered");
        breaks.shutdown(Shutdown::Both).unwrap();
        let ended = timeout(LONG, server.handle().closed())
            .await
            .expect("it does not serve nobody for ever")
            .unwrap();
        assert_eq!(ended.aborted_handlers, 0);
    })
    .unwrap();
}

#[test]
fn a_shutdown_inside_a_handler_waits_for_all_the_others_and_not_for_that_handler() {
    wakering::run(async {
        let house = House::start();
        // On the same connection and on another one.
        let mut connection = client::connect(house.address).await.unwrap();
        let slow = house.ask("/slow");
        let request = Request::get(format!("http://{}/slow", house.address)).body(Body::empty()).unwrap();
        let beside = connection.send(request);
        house.until_at_work(2).await;
        assert_eq!(ask_on(&mut connection, house.address, "/shutdown").await, "shut down, 0 aborted");
        assert_eq!((slow.await.unwrap(), beside.await.is_ok()), ("slow".to_owned(), true));
        assert_eq!(*house.log.borrow(), ["slow", "slow", "shut down, 0 aborted"]);
        assert_eq!(house.server.closed().await, Ok(Stopped::default()));
        assert!(client::connect(house.address).await.is_err(), "the listener is closed");
    })
    .unwrap();
}

#[test]
fn a_shutdown_inside_a_handler_tells_what_the_grace_was_too_short_for_and_the_client_is_answered() {
    wakering::run(async {
        // Who has the report has 50 ms to answer, which a machine with other work may take from him; not always.
        let mut answered = false;
        for _ in 0..5 {
            let house = House::start();
            let never = house.ask("/never");
            house.until_at_work(1).await;
            let said = house.ask("/shutdown-soon").await.unwrap();
            assert_eq!(*house.log.borrow(), ["shut down, 1 aborted"]);
            assert_eq!(never.await.unwrap(), "");
            let stopped = house.server.closed().await.unwrap();
            answered = said == "shut down, 1 aborted";
            if answered {
                assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (1, 1));
                break;
            }
        }
        assert!(answered, "the client of who ended the server was never answered");
    })
    .unwrap();
}

#[test]
fn a_server_and_its_handle_list_what_the_tasks_wait_for_also_on_another_thread() {
    wakering::run(async {
        let house = House::start();
        let never = house.ask("/never");
        house.until_at_work(1).await;
        let handle = house.server.clone();
        let elsewhere = wakering::spawn_blocking(move || handle.dump()).unwrap().await.unwrap();
        for dump in [house.server.dump(), elsewhere] {
            assert!(dump.tasks().any(|task| task.is_root));
            let works = |works: &String| works.contains("HTTP/2 stream 1 of connection ");
            assert!(dump.tasks().any(|task| task.works_on.as_ref().is_some_and(works)), "{dump}");
        }
        house.server.shutdown(Duration::ZERO).await;
        assert_eq!(never.await.unwrap(), "");
    })
    .unwrap();
}

#[test]
fn two_handlers_may_shut_the_server_down_at_once() {
    wakering::run(async {
        let house = House::start();
        let answers = [house.ask("/shutdown"), house.ask("/shutdown")];
        for answer in answers {
            assert_eq!(answer.await.unwrap(), "shut down, 0 aborted");
        }
        assert_eq!(house.server.closed().await, Ok(Stopped::default()));
    })
    .unwrap();
}

#[test]
fn a_handler_that_shuts_down_and_stays_is_closed_at_the_deadline() {
    wakering::run(async {
        let house = House::start();
        let start = Instant::now();
        assert_eq!(house.ask("/shutdown-and-stay").await.unwrap(), "");
        let stopped = house.server.closed().await.unwrap();
        assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (1, 1));
        assert!(start.elapsed() >= SOON, "{:?}", start.elapsed());
    })
    .unwrap();
}

#[test]
fn a_handler_that_waits_for_the_end_of_its_own_server_is_told_at_once() {
    wakering::run(async {
        let house = House::start();
        let said = house.ask("/closed").await.unwrap();
        assert_eq!(said, "Err(\"a handler cannot wait for the end of its own server\")");
        // Also while the server winds down.
        let mut connection = client::connect(house.address).await.unwrap();
        let request =
            |path| Request::get(format!("http://{}{path}", house.address)).body(Body::empty()).unwrap();
        let slow = connection.send(request("/slow"));
        house.until_at_work(2).await;
        let shutdown = house.server.shutdown(LONG);
        assert!(ask_on(&mut connection, house.address, "/closed").await.starts_with("Err"));
        assert!(slow.await.is_ok());
        assert_eq!(shutdown.await, Stopped::default());
    })
    .unwrap();
}

#[test]
fn the_end_is_told_to_every_waiter_and_at_once_afterwards() {
    wakering::run(async {
        let house = House::start();
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let server = house.server.clone();
                wakering::spawn(async move { server.closed().await })
            })
            .collect();
        drop(house.server.closed()); // one that is given up is not waited for
        assert_eq!(house.ask("/").await.unwrap(), "ok");
        assert_eq!(house.server.shutdown(LONG).await, Stopped::default());
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Ok(Stopped::default()));
        }
        assert_eq!(house.server.closed().await, Ok(Stopped::default()));
        assert_eq!(house.server.shutdown(LONG).await, Stopped::default());
    })
    .unwrap();
}

#[test]
fn of_several_graces_the_shortest_counts() {
    wakering::run(async {
        let house = House::start();
        let never = house.ask("/never");
        house.until_at_work(1).await;
        let start = Instant::now();
        let first = house.server.shutdown(LONG);
        sleep(Duration::from_millis(5)).await;
        let second = house.server.shutdown(SOON);
        sleep(Duration::from_millis(5)).await;
        let third = house.server.shutdown(Duration::MAX);
        for stopped in [first.await, second.await, third.await] {
            assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (1, 1));
        }
        assert!(start.elapsed() >= SOON && start.elapsed() < LONG / 2, "{:?}", start.elapsed());
        assert_eq!(never.await.unwrap(), "");
    })
    .unwrap();
}

/// A server of one worker on a thread of its own.
struct Elsewhere {
    server: ServerHandle,
    address: SocketAddr,
    /// A handler began on `/never`, or on `/block`.
    at_work: mpsc::Receiver<()>,
    /// Until this is dropped `/block` blocks the worker.
    release: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Elsewhere {
    fn start() -> Elsewhere {
        let ((report, started), (began, at_work)) = (mpsc::channel(), mpsc::channel());
        let (release, blocked) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let serving = async move {
                let blocked = Rc::new(blocked);
                let handler = move |request: Request<Body>| {
                    let (blocked, began) = (blocked.clone(), began.clone());
                    async move {
                        began.send(()).unwrap();
                        match request.uri().path() {
                            "/block" => drop(blocked.recv()),
                            _ => pending().await,
                        }
                        Response::new(Body::from("ok"))
                    }
                };
                let server = Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), handler).unwrap();
                report.send((server.handle(), server.local_addr())).unwrap();
                server.handle().closed().await.unwrap();
            };
            wakering::run(serving).unwrap();
        });
        let (server, address) = started.recv().unwrap();
        Elsewhere { server, address, at_work, release, thread }
    }

    /// Asks for a path from a thread of its own, and waits until the handler is at work.
    fn ask(&self, path: &'static str) -> thread::JoinHandle<String> {
        let address = self.address;
        let asking = thread::spawn(move || {
            wakering::run(async move {
                let mut connection = client::connect(address).await.unwrap();
                ask_on(&mut connection, address, path).await
            })
            .unwrap()
        });
        self.at_work.recv().unwrap();
        asking
    }
}

#[test]
fn another_thread_shuts_down_and_is_told_what_was_aborted() {
    let elsewhere = Elsewhere::start();
    let never = elsewhere.ask("/never");
    let start = Instant::now();
    drop(elsewhere.server.shutdown(SOON));
    let stopped = elsewhere.server.shutdown_blocking(LONG).unwrap();
    // 100 ms after the deadline on a quiet machine; a busy one may not run us for longer.
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (1, 1));
    assert_eq!(never.join().unwrap(), "");
    assert_eq!(elsewhere.server.shutdown_blocking(LONG), Ok(stopped), "at once afterwards");
    elsewhere.thread.join().unwrap();
}

#[test]
fn another_thread_is_told_which_worker_does_not_come_out_of_a_poll() {
    let elsewhere = Elsewhere::start();
    let blocking = elsewhere.ask("/block");
    let start = Instant::now();
    let stuck = elsewhere.server.shutdown_blocking(SOON).unwrap_err();
    assert_eq!(stuck.workers, [0]);
    assert!(start.elapsed() >= SOON);
    assert_eq!(stuck.to_string(), "the workers [0] of the server did not end in time");
    drop(elsewhere.release);
    blocking.join().unwrap();
    elsewhere.server.shutdown_blocking(LONG).unwrap();
    elsewhere.thread.join().unwrap();
}

#[test]
fn a_server_whose_runtime_ends_has_ended() {
    let (report, started) = mpsc::channel();
    thread::spawn(move || {
        wakering::run(async move {
            let handler = |_: Request<Body>| async { Response::new(Body::empty()) };
            let server = Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), handler).unwrap();
            report.send(server.handle()).unwrap();
        })
        .unwrap();
    })
    .join()
    .unwrap();
    let server = started.recv().unwrap();
    assert_eq!(server.shutdown_blocking(Duration::ZERO), Ok(Stopped::default()));
}

#[test]
fn whoever_waits_for_the_word_hears_it_before_the_grace_is_over() {
    wakering::run(async {
        let house = House::start();
        let answer = house.ask("/until-the-end");
        house.until_at_work(1).await;
        assert_eq!(house.server.shutdown(LONG).await, Stopped::default());
        assert_eq!(answer.await.unwrap(), "the end is near");
        house.server.stopping().await; // at once afterwards
    })
    .unwrap();
}

#[test]
fn a_handler_on_one_worker_shuts_down_the_server_on_all() {
    let own: Arc<OnceLock<ServerHandle>> = Arc::default();
    let handle = own.clone();
    let factory = move || {
        let handle = handle.clone();
        move |request: Request<Body>| {
            let server = handle.get().unwrap().clone();
            async move { Response::new(Body::from(act(request.uri().path(), &server).await)) }
        }
    };
    let runtime = wakering::Runtime::builder().workers(2).build().unwrap();
    runtime
        .block_on(async move {
            let server = Server::builder().start_on_all("127.0.0.1:0".parse().unwrap(), factory).unwrap();
            assert!(own.set(server.handle()).is_ok());
            let address = server.local_addr();
            // Enough connections for both workers to have some.
            let mut connections = Vec::new();
            for _ in 0..16 {
                let mut connection = client::connect(address).await.unwrap();
                assert_eq!(ask_on(&mut connection, address, "/").await, "ok");
                connections.push(connection);
            }
            let slow: Vec<_> = connections[1..]
                .iter_mut()
                .map(|connection| {
                    let request = Request::get(format!("http://{address}/slow")).body(Body::empty()).unwrap();
                    connection.send(request)
                })
                .collect();
            // Some of them arrive in time, and some are refused.
            let said = ask_on(&mut connections[0], address, "/shutdown").await;
            assert_eq!(said, "shut down, 0 aborted");
            for response in slow {
                let response = response.await.map(|response| response.status().as_u16());
                assert!(matches!(&response, Ok(200)) || response.is_err_and(|error| error.is_retryable()));
            }
            assert_eq!(server.handle().closed().await, Ok(Stopped::default()));
        })
        .unwrap();
}

#[test]
fn settings_by_which_nothing_would_move_are_refused_with_words() {
    type Unset = fn(&mut Config);
    let unfit: [(&str, Unset); 3] = [
        ("stream_window", |config| config.stream_window = 0),
        ("output_bytes", |config| config.output_bytes = 0),
        ("turn_bytes", |config| config.turn_bytes = 0),
    ];
    wakering::run(async {
        let hello = |_: Request<Body>| async { Response::new(Body::from("hello")) };
        for (name, unset) in unfit {
            let mut config = Config::default();
            unset(&mut config);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let started = Server::builder().http2(config.clone()).start(listener, hello).map(drop);
            let everywhere =
                Server::builder().http2(config.clone()).start_on_all(address, move || hello).map(drop);
            for refused in [started, everywhere] {
                let refused = refused.unwrap_err();
                assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput, "{name}");
                assert_eq!(refused.to_string(), format!("{name} is to be at least 1, not 0"));
            }
            let refused = client::builder().http2(config).connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), client::Kind::Misuse, "{name}");
        }
    })
    .unwrap();
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_from_hearing_of_the_end() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            // Without the hook, whose message would be taken for a failure.
            resume_unwind(Box::new("on purpose"));
        }
    }
    wakering::run(async {
        let handler = |_: Request<Body>| async { Response::new(Body::empty()) };
        let server = Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), handler).unwrap().handle();
        let mut first = pin!(server.closed());
        let waker = Waker::from(Arc::new(Bomb));
        assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let second = server.clone();
        let second = wakering::spawn(async move { second.closed().await.is_ok() });
        wakering::yield_now().await;
        assert_eq!(server.shutdown(LONG).await, Stopped::default());
        assert!(timeout(LONG, second).await.unwrap().unwrap());
    })
    .unwrap();
}

#[test]
fn content_that_panics_when_it_has_been_sent_ends_its_connection_and_no_other() {
    struct Owner(Box<[u8]>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            resume_unwind(Box::new("on purpose"));
        }
    }
    wakering::run(async {
        let handler = |request: Request<Body>| async move {
            Response::new(match request.uri().path() {
                "/bomb" => Body::from(Bytes::from_owner(Owner(vec![1; 50_000].into()))),
                _ => Body::from("fine"),
            })
        };
        let server = Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), handler).unwrap();
        let url = |path: &str| format!("http://{}{path}", server.local_addr());
        let (one, other) = (client::Client::new(), client::Client::new());
        let fine = async |client: &client::Client| {
            let response = client.get(url("/")).await.unwrap();
            assert_eq!(response.into_body().collect(10).await.unwrap(), "fine");
        };
        fine(&other).await;
        for _ in 0..3 {
            // It may come whole, or be cut off.
            if let Ok(response) = one.get(url("/bomb")).await {
                drop(response.into_body().collect(50_000).await);
            }
            fine(&other).await;
            fine(&one).await;
        }
        assert_eq!(server.stop(LONG).await, Stopped::default());
    })
    .unwrap();
}

/// Neither of them waits for itself, and yet neither ever ends.
#[test]
fn a_handler_that_joins_who_waits_for_its_servers_end_is_found_as_a_circle() {
    wakering::run(timeout(LONG, async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own: Rc<OnceCell<ServerHandle>> = Rc::default();
        let handle = own.clone();
        let handler = move |_: Request<Body>| {
            let server = handle.get().unwrap().clone();
            async move {
                let waits = wakering::spawn_named("waits", async move { server.closed().await.map(drop) });
                waits.await.unwrap().unwrap();
                Response::new(Body::empty())
            }
        };
        let server = Server::start(listener, handler).unwrap();
        let address = server.local_addr();
        assert!(own.set(server.handle()).is_ok());
        let mut connection = client::connect(address).await.unwrap();
        let request = Request::get(format!("http://{address}/")).body(Body::empty()).unwrap();
        let asks = wakering::spawn(async move { connection.send(request).await.map(drop) });
        let circle = loop {
            let dump = server.handle().dump();
            if let [circle] = &dump.circles[..] {
                break (circle.tasks.clone(), dump);
            }
            sleep(Duration::from_millis(1)).await;
        };
        let (tasks, dump) = circle;
        let [one, other] = tasks[..] else { panic!("{dump}") };
        let (one, other) = (dump.task(one).unwrap(), dump.task(other).unwrap());
        let is_handler =
            |task: &TaskDump| task.works_on.as_ref().is_some_and(|on| on.contains("HTTP/2 stream 1"));
        assert!(is_handler(one) && other.name.as_deref() == Some("waits"), "{dump}");
        assert!(
            other.waits.contains(&Wait::Note(format!("the end of the HTTP server on {address}"))),
            "{dump}"
        );
        asks.abort();
    }))
    .unwrap()
    .unwrap();
}
