//! Sixteen clients on a thread of their own that ask a server for as long as a test wants, while it changes what is there.
//!
//! The test's own thread starts and ends the processes: those that it starts die with the thread that did.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use wakering::{
    http::{Body, Request, client::Client},
    spawn,
};

use crate::support::eventually;

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// The clients, and what they have seen.
pub(crate) struct Load {
    seen: Arc<Seen>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answers: AtomicUsize,
    contents: Mutex<BTreeSet<String>>,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Begins to ask the server at `address`, which answers `/` at once and `/slow?ms=5` a little later.
    pub(crate) fn on(address: impl ToString) -> Load {
        let (seen, address) = (Arc::<Seen>::default(), address.to_string());
        let shared = seen.clone();
        let thread = thread::spawn(move || {
            wakering::run(async move {
                let client = Client::builder().timeout(LIMIT).build();
                let paths = ["", "slow?ms=5"].into_iter().cycle().take(16);
                let asking: Vec<_> = paths
                    .map(|path| format!("http://{address}/{path}"))
                    .map(|target| spawn(ask(shared.clone(), client.clone(), target)))
                    .collect();
                for task in asking {
                    task.await.expect("the clients end");
                }
                client.shutdown().await;
            })
            .expect("a runtime");
        });
        Load { seen, thread }
    }

    /// Waits for a hundred more answers, all of them good.
    pub(crate) fn a_hundred_more(&self) {
        let most = self.seen.answers.load(Relaxed) + 100;
        self.wait_for(|seen| seen.answers.load(Relaxed) >= most);
    }

    /// Waits for an answer with this content.
    pub(crate) fn is_answered(&self, content: &str) {
        self.wait_for(|seen| seen.contents.lock().expect("no panic").contains(content));
    }

    fn wait_for(&self, mut done: impl FnMut(&Seen) -> bool) {
        let failed = || !self.seen.failures.lock().expect("no panic").is_empty();
        assert!(eventually(LIMIT, || done(&self.seen) || failed()), "nobody answers");
        assert_eq!(*self.seen.failures.lock().expect("no panic"), [""; 0]);
    }

    /// Ends it; says which contents the answers had.
    pub(crate) fn end(self) -> BTreeSet<String> {
        self.seen.over.store(true, Relaxed);
        self.thread.join().expect("the clients end");
        assert_eq!(*self.seen.failures.lock().expect("no panic"), [""; 0]);
        std::mem::take(&mut *self.seen.contents.lock().expect("no panic"))
    }
}

async fn ask(seen: Arc<Seen>, client: Client, target: String) {
    while !seen.over.load(Relaxed) {
        let request = Request::get(target.as_str()).body(Body::empty()).expect("a request");
        let answer = async {
            let response = client.request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let content = response.into_body().collect(1000).await.map_err(|error| error.to_string())?;
            let content = String::from_utf8_lossy(&content).into_owned();
            if status == 200 { Ok(content) } else { Err(format!("{status}: {content}")) }
        };
        match answer.await {
            Ok(content) => drop(seen.contents.lock().expect("no panic").insert(content)),
            Err(error) => seen.failures.lock().expect("no panic").push(error),
        }
        seen.answers.fetch_add(1, Relaxed);
    }
}
