//! The pool by itself, awaited by a thread that parks.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::task::Wake;

use super::*;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn pool(threads_max: usize, queue_max: usize) -> Arc<Pool> {
    Pool::new(Config { threads_max, queue_max, ..Config::default() })
}

#[track_caller]
fn spawn<T: Send + 'static>(
    pool: &Arc<Pool>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<BlockingHandle<T>, SpawnError> {
    pool.spawn(work, Location::caller())
}

/// Keeps one thread of the pool busy until the sender is dropped or sends.
fn occupy(pool: &Arc<Pool>) -> (mpsc::Sender<()>, BlockingHandle<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (begun, seen) = mpsc::channel();
    let handle = spawn(pool, move || {
        begun.send(()).unwrap();
        let _ = held.recv();
    });
    seen.recv().unwrap();
    (release, handle.unwrap())
}

fn end(pool: &Pool) {
    assert!(pool.shutdown(Instant::now() + Duration::from_secs(60)).is_empty());
}

#[test]
fn a_job_runs_on_another_thread_and_its_result_comes_back() {
    let pool = pool(2, 8);
    let here = thread::current().id();
    let there = wait(spawn(&pool, || thread::current().id()).unwrap()).unwrap();
    assert_ne!(here, there);
    end(&pool);
}

#[test]
fn without_work_there_is_no_thread_and_an_idle_one_ends() {
    let pool = Pool::new(Config { keep_alive: Duration::from_millis(5), ..Config::default() });
    assert_eq!(pool.state().threads, 0);
    wait(spawn(&pool, || ()).unwrap()).unwrap();
    let mut state = pool.state();
    while state.threads > 0 {
        state = pool.ended.wait(state).unwrap();
    }
    assert_eq!((state.idle, state.running.len()), (0, 0));
    drop(state);
    assert_eq!(wait(spawn(&pool, || 5).unwrap()).unwrap(), 5);
    end(&pool);
}

#[test]
fn an_idle_thread_is_used_before_another_is_started() {
    let pool = pool(8, 8);
    for _ in 0..20 {
        wait(spawn(&pool, || ()).unwrap()).unwrap();
        let mut state = pool.state();
        // The result is out a moment before its thread is idle again.
        while state.idle == 0 {
            drop(state);
            thread::yield_now();
            state = pool.state();
        }
        assert_eq!(state.threads, 1);
    }
    end(&pool);
}

#[test]
fn as_many_jobs_as_threads_run_at_once() {
    let pool = pool(4, 8);
    let barrier = Arc::new(Barrier::new(4));
    let jobs: Vec<_> = (0..4)
        .map(|_| {
            let barrier = barrier.clone();
            spawn(&pool, move || barrier.wait().is_leader()).unwrap()
        })
        .collect();
    let leaders = jobs.into_iter().map(|job| wait(job).unwrap()).filter(|is| *is).count();
    assert_eq!(leaders, 1);
    end(&pool);
}

#[test]
fn a_full_queue_refuses_a_job_and_takes_one_again_later() {
    let pool = pool(1, 2);
    let (release, busy) = occupy(&pool);
    let first = spawn(&pool, || 1).unwrap();
    let second = spawn(&pool, || 2).unwrap();
    let dropped = Arc::new(());
    let held = dropped.clone();
    assert_eq!(spawn(&pool, move || drop(held)).unwrap_err(), SpawnError::Full);
    assert_eq!(Arc::strong_count(&dropped), 1, "the refused job was dropped here");
    second.abort();
    let third = spawn(&pool, || 3).unwrap();
    drop(release);
    assert_eq!(wait(first).unwrap(), 1);
    assert!(wait(second).unwrap_err().is_cancelled());
    assert_eq!(wait(third).unwrap(), 3);
    wait(busy).unwrap();
    end(&pool);
}

#[test]
fn jobs_are_taken_first_in_first_out() {
    let pool = pool(1, 100);
    let (release, _busy) = occupy(&pool);
    let order = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> = (0..50)
        .map(|_| {
            let order = order.clone();
            spawn(&pool, move || order.fetch_add(1, Ordering::Relaxed)).unwrap()
        })
        .collect();
    drop(release);
    let turns: Vec<usize> = jobs.into_iter().map(|job| wait(job).unwrap()).collect();
    assert!(turns.is_sorted());
    end(&pool);
}

#[test]
fn a_panic_ends_the_job_and_not_its_thread() {
    let pool = pool(1, 8);
    let failed = wait(spawn(&pool, || -> () { panic!("on purpose") }).unwrap()).unwrap_err();
    assert_eq!(failed.message(), Some("on purpose"));
    assert_eq!(wait(spawn(&pool, || 7).unwrap()).unwrap(), 7);
    assert_eq!(pool.state().threads, 1);
    end(&pool);
}

#[test]
fn a_result_that_panics_in_its_destructor_does_not_end_the_thread() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let pool = pool(1, 8);
    let (release, busy) = occupy(&pool);
    drop(spawn(&pool, || Bomb).unwrap());
    let after = spawn(&pool, || 7).unwrap();
    drop(release);
    wait(busy).unwrap();
    assert_eq!(wait(after).unwrap(), 7);
    end(&pool);
}

#[test]
fn a_running_job_is_not_aborted_and_a_detached_one_runs() {
    let pool = pool(1, 8);
    let (release, busy) = occupy(&pool);
    busy.abort();
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();
    drop(spawn(&pool, move || flag.store(true, Ordering::Relaxed)).unwrap());
    drop(release);
    wait(busy).unwrap();
    wait(spawn(&pool, || ()).unwrap()).unwrap();
    assert!(ran.load(Ordering::Relaxed));
    end(&pool);
}

#[test]
fn shutdown_cancels_what_is_queued_and_waits_for_what_runs() {
    let pool = pool(1, 8);
    let (release, busy) = occupy(&pool);
    let queued = spawn(&pool, || ()).unwrap();
    let closer = {
        let pool = pool.clone();
        thread::spawn(move || pool.shutdown(Instant::now() + Duration::from_secs(60)))
    };
    assert!(wait(queued).unwrap_err().is_cancelled());
    assert_eq!(spawn(&pool, || ()).unwrap_err(), SpawnError::Closed);
    assert!(!closer.is_finished());
    drop(release);
    assert!(closer.join().unwrap().is_empty());
    wait(busy).unwrap();
    assert_eq!(pool.state().threads, 0);
}

#[test]
fn shutdown_leaves_a_job_that_does_not_end_and_names_it() {
    let pool = pool(1, 8);
    let (release, busy) = occupy(&pool);
    let left = pool.shutdown(Instant::now() + Duration::from_millis(10));
    assert_eq!(left.len(), 1);
    let named = left[0].to_string();
    assert!(named.starts_with("the blocking job spawned at ") && named.contains(file!()), "{named}");
    drop(release);
    wait(busy).unwrap();
    end(&pool);
}

#[test]
fn handles_may_cross_threads_and_a_job_wakes_who_polled_last() {
    fn assert_send_and_sync<T: Send + Sync>(_: &T) {}
    let pool = pool(1, 8);
    let (release, mut busy) = occupy(&pool);
    assert_send_and_sync(&busy);
    assert!(Pin::new(&mut busy).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let waiter = thread::spawn(move || wait(busy));
    drop(release);
    waiter.join().unwrap().unwrap();
    end(&pool);
}

#[test]
fn jobs_that_were_given_to_threads_which_cannot_be_started_are_told_all_of_them() {
    let pool = pool(2, 8);
    // Two starters at once, each of whom counts on the other's thread.
    pool.state().threads = 2;
    let (first, second) = (spawn(&pool, || ()).unwrap(), spawn(&pool, || ()).unwrap());
    let ended = Arc::new(AtomicBool::new(false));
    let ends = ended.clone();
    pool.finish(Box::new(move || ends.store(true, Ordering::Relaxed)));
    assert!(!pool.uncount(first.number), "the other one's may come");
    assert!(!first.is_finished() && !ended.load(Ordering::Relaxed));
    assert!(pool.uncount(second.number), "refused");
    assert!(wait(first).unwrap_err().is_cancelled());
    assert!(ended.load(Ordering::Relaxed) && !pool.is_busy());
    end(&pool);
}
