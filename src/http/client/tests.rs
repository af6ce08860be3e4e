//! What a client leaves behind when it is dropped, wherever its requests were: nothing.

use std::{cell::Cell, net::SocketAddr, time::Duration};

use bytes::Bytes;

use super::Client;
use crate::{
    http::{Body, Request, Response, Server},
    net::TcpListener,
    time::sleep,
    worker::{self, context},
};

async fn answer(request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/never" => std::future::pending().await,
        "/slow" => sleep(Duration::from_millis(1)).await,
        "/endless" => {
            let (mut sender, body) = Body::channel();
            worker::spawn(async move { while sender.send(Bytes::from_static(&[7; 9000])).await.is_ok() {} });
            return Response::new(body);
        }
        _ => {}
    }
    Response::new(request.into_body())
}

/// Numbers from a seed.
struct Dice(Cell<u64>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let next =
            self.0.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.set(next);
        (next >> 33) % sides
    }
}

/// One request of any kind, to be dropped at any moment.
async fn call(client: Client, address: SocketAddr, kind: u64) {
    let path = ["/echo", "/slow", "/never", "/endless"][kind as usize % 4];
    let (mut sender, body) = Body::channel();
    let body = match kind / 4 % 3 {
        0 => Body::empty(),
        1 => Body::from(vec![1; 100_000]),
        _ => {
            worker::spawn(async move { while sender.send(Bytes::from_static(&[9; 5000])).await.is_ok() {} });
            body
        }
    };
    let request = Request::post(format!("http://{address}{path}")).body(body).unwrap();
    let call = client.request(request);
    drop(client);
    let Ok(response) = call.timeout(Duration::from_millis(10 + kind)).await else { return };
    let mut content = response.into_body();
    for _ in 0..kind % 7 {
        if content.data().await.is_none() {
            return;
        }
    }
}

/// Live tasks, registered sources, and whether a timer is armed.
fn census() -> (usize, usize, bool) {
    context::with(|worker| (worker.tasks().live(), worker.reactor().sources(), worker.reactor().has_timers()))
}

#[test]
fn nothing_is_left_of_clients_that_are_dropped_at_any_moment() {
    let seed = std::process::id().into();
    println!("seed {seed}");
    let dice = Dice(Cell::new(seed));
    worker::run(async {
        let before = census();
        for _ in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = Server::start(listener, answer).unwrap();
            let streams = 1 + dice.roll(10) as usize;
            let client = Client::builder().streams_per_connection(streams).connections_per_host(2).build();
            let calls: Vec<_> =
                (0..40).map(|_| worker::spawn(call(client.clone(), address, dice.roll(84)))).collect();
            drop(client);
            for call in calls {
                match dice.roll(3) {
                    0 => worker::yield_now().await,
                    1 => sleep(Duration::from_micros(dice.roll(2000))).await,
                    _ => call.abort(),
                }
                if dice.roll(2) == 0 {
                    let _ = call.await;
                }
            }
            let stopped = server.stop(Duration::from_secs(5)).await;
            assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (0, 0), "seed {seed}");
        }
        for _ in 0..1000 {
            if census() == before {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(census(), before, "tasks, sources, timers; seed {seed}");
    })
    .unwrap();
}

#[test]
fn what_is_dropped_after_its_runtime_does_no_harm() {
    let client = Client::new();
    let held = worker::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _server = Server::start(listener, answer).unwrap();
        let url = |path| format!("http://{address}{path}");
        let response = client.get(url("/endless")).await.unwrap();
        let mut call = Box::pin(client.get(url("/never")).into_future());
        let polled =
            std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        (response, call)
    });
    drop(held.unwrap());
    // The next runtime finds the connections gone, and makes others.
    worker::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _server = Server::start(listener, answer).unwrap();
        assert_eq!(client.get(format!("http://{address}/")).await.unwrap().status(), 200);
    })
    .unwrap();
    drop(client);
}
