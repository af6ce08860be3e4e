//! What cancelling and closing leave behind: nothing. One test, for it counts the descriptors of the whole process.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/net.rs"]
mod support;

use std::{
    cell::RefCell,
    fs,
    future::{Future, poll_fn},
    io::{Read, Write},
    net::{TcpListener as StdListener, TcpStream as StdStream},
    os::fd::{AsFd, AsRawFd},
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    thread,
};

use support::{FOR_EVER, LOOPBACK, fill, nobody, pair, pair_with_std, poll_once, run};
use wakering::{
    http::{Body, Request, Response, Server, client::Client},
    net::{self, AsyncFd, TcpConnector, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream},
    spawn,
};

/// The open descriptors of this process, where the system tells.
fn descriptors() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

#[test]
fn cancelled_and_finished_calls_leave_no_descriptor_and_no_registration() {
    // The first of everything may open something for good, such as the tables of the process.
    every_way_to_cancel();
    let before = descriptors();
    for _ in 0..100 {
        every_way_to_cancel();
    }
    assert_eq!(descriptors(), before);
    recycled_descriptors_get_no_stale_event();
    assert_eq!(descriptors(), before);
    wakers_outlive_their_task_and_their_runtime();
    assert_eq!(descriptors(), before);
    clients_that_are_dropped();
    let before = descriptors();
    for _ in 0..20 {
        clients_that_are_dropped();
    }
    assert_eq!(descriptors(), before);
}

fn every_way_to_cancel() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let address = listener.local_addr().unwrap();
        drop(poll_once(pin!(listener.accept())).await);
        drop(poll_once(pin!(TcpStream::connect(address))).await);
        drop(poll_once(pin!(TcpStream::connect(nobody()))).await);
        let (mut client, mut server) = pair().await;
        assert!(poll_once(pin!(client.read(&mut [0; 8]))).await.is_pending());
        assert!(poll_once(pin!(client.read_with(|_| panic!("nothing came")))).await.is_pending());
        fill(&server).await;
        assert!(poll_once(pin!(server.write_all(b"no room"))).await.is_pending());
        drop(client.as_fd().try_clone_to_owned().unwrap());
        let (reader, writer) = client.into_split();
        let cancelled = spawn(async move {
            let (mut reader, _writer) = (reader, writer);
            let mut all = vec![0; 1 << 30];
            reader.read_exact(&mut all).await
        });
        wakering::yield_now().await;
        cancelled.abort();
        assert!(cancelled.await.is_err());
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        assert!(poll_once(pin!(socket.recv_from(&mut [0; 8]))).await.is_pending());
        cancel_unix_and_others().await;
        // These end with the runtime, in the middle of their wait.
        spawn(async move { listener.accept().await.map(drop) });
        spawn(async move { socket.recv(&mut [0; 8]).await.map(drop) });
        wakering::yield_now().await;
    });
}

async fn cancel_unix_and_others() {
    let (mut one, mut other) = UnixStream::pair().unwrap();
    let (passed, _kept) = UnixStream::pair().unwrap();
    one.send_fds(b"x", &[passed.as_fd(), passed.as_fd()]).await.unwrap();
    drop(other.recv_fds(&mut [0; 8], 1).await.unwrap());
    one.send_fds(b"x", &[passed.as_fd(), passed.as_fd()]).await.unwrap();
    assert!(poll_once(pin!(one.recv_fds(&mut [0; 8], 4))).await.is_pending());
    {
        let (mut far, mut near) = pair().await;
        let mut copying = pin!(net::copy_bidirectional(&mut far, &mut other));
        // Descriptors that come with bytes that are copied are thrown away.
        assert!(poll_once(copying.as_mut()).await.is_pending());
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 1);
    }
    let (datagrams, _peer) = UnixDatagram::pair().unwrap();
    assert!(poll_once(pin!(datagrams.recv(&mut [0; 8]))).await.is_pending());
    let any = AsyncFd::new(passed.as_fd());
    assert!(poll_once(pin!(any.readable())).await.is_pending());
    drop(any);
    let connector = TcpConnector::new().happy_eyeballs(true);
    drop(poll_once(pin!(connector.connect([nobody(), nobody()]))).await);
}

/// The number of a closed descriptor goes to a new one while events of the old one, or of
/// its duplicates, may still come.
fn recycled_descriptors_get_no_stale_event() {
    run(async {
        let mut recycled = 0;
        let listener = StdListener::bind(LOOPBACK).unwrap();
        for round in 0..500 {
            let (mut old, mut old_peer) = pair_with_std();
            assert!(poll_once(pin!(old.read(&mut [0; 1]))).await.is_pending());
            let number = old.as_fd().as_raw_fd();
            let duplicate = (round % 2 == 0).then(|| old.as_fd().try_clone_to_owned().unwrap());
            let mut new_peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            drop(old);
            // The system gives the lowest free number.
            let mut new = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
            recycled += usize::from(new.as_fd().as_raw_fd() == number);
            assert!(poll_once(pin!(new.read(&mut [0; 1]))).await.is_pending());
            drop(old_peer.write_all(b"for the old one"));
            wakering::time::sleep(std::time::Duration::from_micros(100)).await;
            assert!(poll_once(pin!(new.read(&mut [0; 1]))).await.is_pending(), "an event of the old one");
            new_peer.write_all(b"y").unwrap();
            let mut buffer = [0; 4];
            assert_eq!(new.read(&mut buffer).await.unwrap(), 1);
            assert_eq!(buffer[0], b'y');
            drop(duplicate);
        }
        assert!(recycled > 100, "only {recycled} numbers came back: the test tests nothing");
    });
}

fn wakers_outlive_their_task_and_their_runtime() {
    let kept: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let survivor = run(async {
        let listener = StdListener::bind(LOOPBACK).unwrap();
        let mut peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(FOR_EVER)).unwrap();
        let mut stream = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
        let wakers = kept.clone();
        let task = spawn(async move {
            let mut buffer = [0; 4];
            let mut reading = pin!(stream.read(&mut buffer));
            poll_fn(|cx| {
                wakers.borrow_mut().push(cx.waker().clone());
                reading.as_mut().poll(cx)
            })
            .await
        });
        wakering::yield_now().await;
        task.abort();
        assert!(task.await.is_err());
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "the task's socket went with it");
        let (survivor, _) = pair_with_std();
        assert!(matches!(poll_once(pin!(survivor.readable())).await, Poll::Pending));
        survivor
    });
    // The task is gone, then its runtime: waking, cloning and dropping do nothing, here and elsewhere.
    let wakers = kept.take();
    assert!(!wakers.is_empty());
    let storm = move || {
        for waker in &wakers {
            let clones: Vec<Waker> = (0..10_000).map(|_| waker.clone()).collect();
            clones.iter().for_each(Waker::wake_by_ref);
            clones.into_iter().for_each(Waker::wake);
        }
    };
    thread::spawn(storm).join().unwrap();
    // A socket may go after its runtime.
    drop(survivor);
}

/// Clients dropped with requests in every state: connecting, waiting, running, reading.
fn clients_that_are_dropped() {
    run(async {
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let server = Server::start(listener, |request: Request<Body>| async move {
            if request.uri().path() == "/never" {
                std::future::pending::<()>().await;
            }
            Response::new(Body::from(vec![7; 100_000]))
        });
        let server = server.unwrap();
        let client = Client::builder().streams_per_connection(2).connections_per_host(2).build();
        let url = |path: &str| format!("http://{}{path}", server.local_addr());
        let read = client.get(url("/")).await.unwrap().into_body().collect(1 << 20).await.unwrap();
        assert_eq!(read.len(), 100_000);
        let unread = client.get(url("/")).await.unwrap();
        let calls = ["/never"; 8].map(|path| {
            let call = client.get(url(path));
            spawn(async move { drop(call.await) })
        });
        let nowhere = spawn(client.get(format!("http://{}/", nobody())).into_future());
        wakering::yield_now().await;
        for call in &calls {
            call.abort();
        }
        for call in calls {
            assert!(call.await.is_err());
        }
        drop((unread, nowhere, client));
        let stopped = server.stop(FOR_EVER).await;
        assert_eq!(stopped.aborted_connections, 0);
    });
}
