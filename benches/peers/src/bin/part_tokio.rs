//! The parts of tokio: a `LocalSet` on its current-thread runtime.

use std::future::Future;
use std::net::TcpStream;
use std::time::Duration;

use tokio::task::{LocalSet, spawn_local};
use wakering_peers::parts::memory::Counting;
use wakering_peers::parts::tasks::{Runtime, Sockets, Timers};
use wakering_peers::parts::{memory, tasks, timers, wakes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Tokio;

impl Runtime for Tokio {
    fn block_on<F: Future<Output: 'static> + 'static>(future: F) -> F::Output {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime is built");
        LocalSet::new().block_on(&runtime, async { spawn_local(future).await.expect("nothing panics") })
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        let task = spawn_local(future);
        async { task.await.expect("nothing panics") }
    }

    fn forget<F: Future<Output = ()> + 'static>(future: F) {
        drop(spawn_local(future));
    }

    fn yield_now() -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }
}

impl Timers for Tokio {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }
}

impl Sockets for Tokio {
    async fn hold(stream: TcpStream) {
        let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
        drop(stream.readable().await);
    }
}

fn main() {
    wakering_peers::parts::main(&[
        &tasks::parts::<Tokio>(),
        &wakes::parts::<Tokio>(),
        &timers::parts::<Tokio>(),
        &memory::parts::<Tokio>(),
    ]);
}
