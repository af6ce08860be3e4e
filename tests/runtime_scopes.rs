//! Scopes, cancellation tokens and values of a task.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use wakering::{
    AbortHandle, CancellationToken, LocalKey, Runtime, Scope, ScopeError, run, spawn, time::sleep, yield_now,
};

/// Notes its name when it is dropped.
struct Note(&'static str, Rc<RefCell<Vec<&'static str>>>);

impl Drop for Note {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

/// Sends the name of the thread on which it is dropped.
struct Report(mpsc::Sender<Option<String>>);

impl Drop for Report {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().name().map(str::to_owned));
    }
}

async fn panics(text: &str) {
    panic!("{text}");
}

#[test]
fn joining_a_scope_waits_for_every_child() {
    run(async {
        let ended = Rc::new(Cell::new(0));
        let scope: Scope = Scope::new();
        for round in 0..10 {
            let ended = ended.clone();
            scope.spawn(async move {
                for _ in 0..round {
                    yield_now().await;
                }
                ended.set(ended.get() + 1);
            });
        }
        scope.join().await.unwrap();
        assert_eq!(ended.get(), 10);
    })
    .unwrap();
}

#[test]
fn the_first_error_wins_and_aborts_the_others() {
    run(async {
        let notes = Rc::new(RefCell::new(Vec::new()));
        let note = Note("sleeper", notes.clone());
        let scope: Scope<u8> = Scope::new();
        scope.spawn(async move {
            let _note = note;
            pending::<()>().await;
        });
        scope.spawn(async { Err(1) });
        scope.spawn(async { Err(2) });
        assert!(matches!(scope.join().await, Err(ScopeError::Failed(1))));
        assert_eq!(*notes.borrow(), ["sleeper"], "the sibling's future is gone when join returns");
    })
    .unwrap();
}

#[test]
fn a_panic_of_a_child_is_an_error_of_its_scope() {
    run(async {
        let scope: Scope = Scope::new();
        scope.spawn(pending::<()>());
        scope.spawn(panics("no more tea"));
        let error = scope.join().await.unwrap_err();
        assert_eq!(error.to_string(), "in a scope: the task panicked: no more tea");
    })
    .unwrap();
}

#[test]
fn closing_a_scope_awaits_what_it_aborts() {
    run(async {
        let notes = Rc::new(RefCell::new(Vec::new()));
        let scope: Scope = Scope::new();
        for name in ["first", "second"] {
            let note = Note(name, notes.clone());
            scope.spawn(async move {
                let _note = note;
                pending::<()>().await;
            });
        }
        yield_now().await;
        scope.close().await.unwrap();
        assert_eq!(*notes.borrow(), ["first", "second"]);
    })
    .unwrap();
}

#[test]
fn dropping_a_scope_drops_the_futures_of_its_children_before_it_returns() {
    run(async {
        let notes = Rc::new(RefCell::new(Vec::new()));
        let scope: Scope = Scope::new();
        let note = Note("child", notes.clone());
        let child = scope.spawn(async move {
            let _note = note;
            pending::<()>().await;
        });
        yield_now().await;
        drop(scope);
        assert_eq!(*notes.borrow(), ["child"]);
        assert!(child.is_finished());
    })
    .unwrap();
}

#[test]
fn a_child_may_drop_its_own_scope() {
    run(async {
        let slot: Rc<RefCell<Option<Scope>>> = Rc::default();
        let scope: Scope = Scope::new();
        let ended = Rc::new(Cell::new(false));
        let (own, reached) = (slot.clone(), ended.clone());
        let child = scope.spawn(async move {
            drop(own.take());
            reached.set(true);
            pending::<()>().await;
        });
        slot.replace(Some(scope));
        while !child.is_finished() {
            yield_now().await;
        }
        assert!(ended.get(), "it goes on to its next wait, and ends there");
    })
    .unwrap();
}

#[test]
fn a_scope_that_has_failed_takes_nobody_in() {
    run(async {
        let scope: Scope<()> = Scope::new();
        scope.spawn(async { Err(()) });
        while !scope.is_empty() {
            yield_now().await;
        }
        let ran = Rc::new(Cell::new(false));
        let told = ran.clone();
        scope.spawn(async move { told.set(true) });
        assert!(scope.join().await.is_err());
        assert!(!ran.get());
    })
    .unwrap();
}

#[test]
fn children_on_other_workers_are_closed_where_they_run() {
    let runtime = Runtime::builder().workers(2).thread_name("scoped").build().unwrap();
    let (sender, dropped) = mpsc::channel();
    runtime
        .block_on(async move {
            let scope: Scope = Scope::new();
            let report = Report(sender);
            let child = move || async move {
                let _report = report;
                pending::<()>().await;
            };
            scope.spawn_on(1, child).unwrap();
            yield_now().await;
            assert_eq!(scope.len(), 1);
            scope.close().await.unwrap();
            assert_eq!(dropped.try_recv().unwrap().as_deref(), Some("scoped-1"), "gone before close returns");
        })
        .unwrap();
}

#[test]
fn dropping_a_scope_sends_word_to_other_workers() {
    let runtime = Runtime::builder().workers(2).thread_name("worded").build().unwrap();
    let (sender, dropped) = mpsc::channel();
    runtime
        .block_on(async move {
            let scope: Scope = Scope::new();
            let report = Report(sender);
            let child = move || async move {
                let _report = report;
                pending::<()>().await;
            };
            scope.spawn_on(1, child).unwrap();
            drop(scope);
        })
        .unwrap();
    assert_eq!(dropped.recv().unwrap().as_deref(), Some("worded-1"));
}

#[test]
fn an_error_on_another_worker_ends_the_scope() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime
        .block_on(async {
            let scope: Scope<u32> = Scope::new();
            scope.spawn(pending::<()>());
            scope.spawn_on(1, || async { Err::<(), u32>(7) }).unwrap();
            assert!(matches!(scope.join().await, Err(ScopeError::Failed(7))));
            let scope: Scope = Scope::new();
            scope.spawn_on(1, || panics("over there")).unwrap();
            assert!(matches!(scope.join().await, Err(ScopeError::Panicked(_))));
        })
        .unwrap();
}

#[test]
fn ten_thousand_children_come_and_go() {
    run(async {
        let scope: Scope = Scope::new();
        for _ in 0..10_000 {
            scope.spawn(yield_now());
        }
        assert_eq!(scope.len(), 10_000);
        while !scope.is_empty() {
            yield_now().await;
        }
        scope.join().await.unwrap();
    })
    .unwrap();
}

#[test]
fn cancelling_reaches_all_below_and_none_above() {
    let root = CancellationToken::new();
    let (left, right) = (root.child_token(), root.child_token());
    let below = left.child_token();
    left.cancel();
    assert!(below.is_cancelled() && left.child_token().is_cancelled());
    assert!(!root.is_cancelled() && !right.is_cancelled());
    root.cancel();
    root.cancel();
    assert!(right.is_cancelled());
}

#[test]
fn a_token_wakes_waiters_of_every_thread() {
    let token = CancellationToken::new();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let token = token.child_token();
            thread::spawn(move || run(async move { token.cancelled().await }).unwrap())
        })
        .collect();
    token.cancel();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn running_until_cancelled_lets_what_is_ready_win() {
    run(async {
        let token = CancellationToken::new();
        token.cancel();
        assert_eq!(token.run_until_cancelled(async { 1 }).await, Some(1));
        assert_eq!(token.run_until_cancelled(pending::<u8>()).await, None);
    })
    .unwrap();
}

#[test]
fn a_guard_cancels_when_it_is_dropped_unless_it_is_disarmed() {
    let token = CancellationToken::new();
    let kept = token.child_token().drop_guard().disarm();
    assert!(!kept.is_cancelled());
    drop(token.clone().drop_guard());
    assert!(token.is_cancelled() && kept.is_cancelled());
}

#[test]
fn a_chain_of_a_hundred_thousand_tokens_unwinds_without_a_deep_stack() {
    let root = CancellationToken::new();
    let mut last = root.child_token();
    for _ in 0..100_000 {
        last = last.child_token();
    }
    root.cancel();
    assert!(last.is_cancelled());
    drop(root);
    drop(last);
}

#[test]
fn who_waits_no_longer_is_forgotten() {
    struct Count;
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            panic!("it is not waiting any more");
        }
    }
    let token = CancellationToken::new();
    let counted = Arc::new(Count);
    let waker = Waker::from(counted.clone());
    {
        let mut waiting = pin!(token.cancelled());
        assert!(Future::poll(waiting.as_mut(), &mut Context::from_waker(&waker)).is_pending());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&counted), 1, "the token has let go of the waker");
    token.cancel();
}

static NAME: LocalKey<&'static str> = LocalKey::new();
static NUMBER: LocalKey<Cell<u32>> = LocalKey::new();

#[test]
fn a_task_sees_its_own_value_and_not_its_neighbours() {
    run(async {
        let tasks = ["one", "two", "three"].map(|name| {
            spawn(NAME.scope(name, async move {
                for _ in 0..5 {
                    assert_eq!(NAME.get(), Ok(name));
                    yield_now().await;
                }
            }))
        });
        for task in tasks {
            task.await.unwrap();
        }
        assert!(NAME.get().is_err());
    })
    .unwrap();
}

#[test]
fn scopes_of_a_value_nest_and_keys_do_not_meet() {
    let body = NUMBER.scope(Cell::new(1), async {
        NAME.sync_scope("outer", || {
            NAME.sync_scope("inner", || assert_eq!(NAME.get(), Ok("inner")));
            assert_eq!(NAME.get(), Ok("outer"));
        });
        NUMBER.with(|number| number.set(number.get() + 1));
        yield_now().await;
        NUMBER.with(|number| assert_eq!(number.get(), 2, "it is one value from poll to poll"));
    });
    run(body).unwrap();
}

#[test]
fn a_panic_takes_the_value_off_the_stack() {
    run(async {
        let task = spawn(NAME.scope("lost", async { panic!("inside") }));
        assert!(task.await.unwrap_err().is_panic());
        assert!(NAME.get().is_err());
    })
    .unwrap();
}

#[test]
fn a_spawned_task_does_not_inherit_a_value() {
    run(NAME.scope("parent", async {
        assert!(spawn(async { NAME.get() }).await.unwrap().is_err());
    }))
    .unwrap();
}

#[test]
fn an_abort_handle_keeps_no_output_that_nobody_can_join_for() {
    run(async {
        let output = Rc::new(());
        let [left, joined] = [(); 2].map(|()| {
            let output = output.clone();
            spawn(async move { output })
        });
        let aborts = [left.abort_handle(), joined.abort_handle()];
        drop(left);
        yield_now().await;
        assert_eq!(Rc::strong_count(&output), 2, "that of the one that can be joined");
        assert!(aborts.iter().all(AbortHandle::is_finished) && aborts[1].id() == joined.id());
        drop(joined);
        assert_eq!(Rc::strong_count(&output), 1);
        aborts.iter().for_each(AbortHandle::abort);
        assert!(aborts.iter().all(AbortHandle::is_finished) && aborts[0].id() != aborts[1].id());
    })
    .unwrap();
}

#[test]
fn an_abort_handle_ends_its_task() {
    run(async {
        let start = Instant::now();
        let task = spawn(sleep(Duration::from_secs(3600)));
        let abort = task.abort_handle();
        assert_eq!(abort.id(), task.id());
        abort.abort();
        assert!(task.await.unwrap_err().is_cancelled() && abort.is_finished());
        assert!(start.elapsed() < Duration::from_secs(3600));
        poll_fn(|_| Poll::Ready(())).await;
    })
    .unwrap();
}

/// Is ready at once, and panics when it is dropped.
struct Bomb;

impl Future for Bomb {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn a_child_that_panics_while_it_is_dropped_has_panicked() {
    run(async {
        let dropped = Rc::default();
        let scope: Scope = Scope::new();
        let note = Note("sibling", Rc::clone(&dropped));
        scope.spawn(async move {
            pending::<()>().await;
            drop(note);
        });
        scope.spawn(Bomb);
        assert!(matches!(scope.join().await, Err(ScopeError::Panicked(_))));
        assert_eq!(*dropped.borrow(), ["sibling"]);
    })
    .unwrap();
}

#[test]
fn a_child_that_waits_for_its_own_scope_is_told_so_and_its_siblings_end() {
    for closes in [false, true] {
        run(async {
            let dropped = Rc::default();
            let place: Rc<RefCell<Option<Scope>>> = Rc::new(RefCell::new(Some(Scope::new())));
            let (own, told) = (place.clone(), Rc::new(Cell::new(false)));
            let (note, tells) = (Note("sibling", Rc::clone(&dropped)), told.clone());
            let scope = place.take().unwrap();
            scope.spawn(async move {
                pending::<()>().await;
                drop(note);
            });
            scope.spawn(async move {
                let scope: Scope = own.take().unwrap();
                let ended = if closes { scope.close().await } else { scope.join().await };
                assert!(matches!(ended, Err(ScopeError::WaitsForItself)), "{ended:?}");
                tells.set(true);
            });
            place.replace(Some(scope));
            while !told.get() {
                yield_now().await;
            }
            assert_eq!(*dropped.borrow(), ["sibling"]);
        })
        .unwrap();
    }
}

#[test]
fn who_asks_while_the_thread_ends_is_told_that_there_is_no_value() {
    /// Dropped by the thread's end, behind what came into being after it.
    struct Last(mpsc::Sender<bool>);
    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.0.send(NAME.get().is_err() && NUMBER.try_with(Cell::get).is_err());
        }
    }
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    let (sender, told) = mpsc::channel();
    let ending = thread::spawn(move || {
        LAST.set(Some(Last(sender)));
        run(NAME.scope("here", async { assert_eq!(NAME.get(), Ok("here")) })).unwrap();
    });
    assert_eq!(told.recv(), Ok(true));
    ending.join().unwrap();
}
