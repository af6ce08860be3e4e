//! The parts of smol: `LocalExecutor`, and `async-io` for timers and sockets.

use std::future::Future;
use std::net::TcpStream;
use std::time::Duration;

use async_io::{Async, Timer};
use smol::LocalExecutor;
use wakering_peers::parts::memory::Counting;
use wakering_peers::parts::tasks::{Runtime, Sockets, Timers};
use wakering_peers::parts::{memory, tasks, timers, wakes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static EXECUTOR: &'static LocalExecutor<'static> = Box::leak(Box::new(LocalExecutor::new()));
}

fn executor() -> &'static LocalExecutor<'static> {
    EXECUTOR.with(|executor| *executor)
}

struct Smol;

impl Runtime for Smol {
    fn block_on<F: Future<Output: 'static> + 'static>(future: F) -> F::Output {
        smol::block_on(executor().run(executor().spawn(future)))
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        executor().spawn(future)
    }

    fn forget<F: Future<Output = ()> + 'static>(future: F) {
        executor().spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> {
        smol::future::yield_now()
    }
}

impl Timers for Smol {
    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }
}

impl Sockets for Smol {
    async fn hold(stream: TcpStream) {
        let stream = Async::new(stream).expect("a socket");
        drop(stream.readable().await);
    }
}

fn main() {
    wakering_peers::parts::main(&[
        &tasks::parts::<Smol>(),
        &wakes::parts::<Smol>(),
        &timers::parts::<Smol>(),
        &memory::parts::<Smol>(),
    ]);
}
