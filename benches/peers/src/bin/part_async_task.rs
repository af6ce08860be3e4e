//! The parts of `async-task` under the least executor that there can be: a queue and a loop.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_task::Runnable;
use wakering_peers::parts::memory::Counting;
use wakering_peers::parts::tasks::{self, Runtime};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static QUEUE: RefCell<VecDeque<Runnable>> = const { RefCell::new(VecDeque::new()) };
}

struct AsyncTask;

fn start<F: Future<Output: 'static> + 'static>(future: F) -> async_task::Task<F::Output> {
    let push = |runnable| QUEUE.with_borrow_mut(|queue| queue.push_back(runnable));
    let (runnable, task) = async_task::spawn_local(future, push);
    runnable.schedule();
    task
}

impl Runtime for AsyncTask {
    fn block_on<F: Future<Output: 'static> + 'static>(future: F) -> F::Output {
        let mut task = pin!(start(future));
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let Some(runnable) = QUEUE.with_borrow_mut(VecDeque::pop_front) else {
                match task.as_mut().poll(&mut context) {
                    Poll::Ready(output) => return output,
                    Poll::Pending => panic!("nothing here wakes from outside"),
                }
            };
            runnable.run();
        }
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        start(future)
    }

    fn forget<F: Future<Output = ()> + 'static>(future: F) {
        start(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> {
        futures_lite::future::yield_now()
    }
}

fn main() {
    wakering_peers::parts::main(&[&tasks::parts::<AsyncTask>()]);
}
