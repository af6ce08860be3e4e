//! The parts of monoio on its epoll driver. Its wakers stay on their thread unless it is built to lend them out.

use std::future::Future;
use std::net::TcpStream;
use std::time::Duration;

use monoio::{LegacyDriver, RuntimeBuilder};
use wakering_peers::parts::memory::Counting;
use wakering_peers::parts::tasks::{Runtime, Sockets, Timers};
use wakering_peers::parts::{memory, tasks, timers};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Monoio;

impl Runtime for Monoio {
    fn block_on<F: Future<Output: 'static> + 'static>(future: F) -> F::Output {
        let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build();
        runtime.expect("a runtime is built").block_on(async { monoio::spawn(future).await })
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        monoio::spawn(future)
    }

    fn forget<F: Future<Output = ()> + 'static>(future: F) {
        drop(monoio::spawn(future));
    }

    fn yield_now() -> impl Future<Output = ()> {
        // It has none of its own.
        futures_lite::future::yield_now()
    }
}

impl Timers for Monoio {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(duration)
    }
}

impl Sockets for Monoio {
    async fn hold(stream: TcpStream) {
        let stream = monoio::net::TcpStream::from_std(stream).expect("a socket");
        drop(stream.readable(false).await);
    }
}

fn main() {
    wakering_peers::parts::main(&[
        &tasks::parts::<Monoio>(),
        &timers::parts::<Monoio>(),
        &memory::parts::<Monoio>(),
    ]);
}
