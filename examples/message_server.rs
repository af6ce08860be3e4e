//! A store of messages with subscriptions, for clients of `wakering::message` and of the Python package netaio.
//!
//! `cargo run --release --features message --example message_server -- --addr 127.0.0.1:8888 --secret s`
//!
//! REQUEST_URI `echo` answers with the request's content. CREATE_URI and UPDATE_URI store their content under their uri, which
//! REQUEST_URI reads and DELETE_URI removes. SUBSCRIBE_URI and UNSUBSCRIBE_URI are confirmed, and PUBLISH_URI sends its
//! content to all who have subscribed to its uri.

#[path = "support/ending.rs"]
mod ending;
#[path = "support/message_line.rs"]
mod message_line;
#[path = "support/serving.rs"]
mod serving;
#[path = "support/tell.rs"]
mod tell;

use std::{
    cell::OnceCell,
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use message_line::ServerLine;
use tell::tell;
use wakering::{
    message::{Builder, Incoming, Kind, Message, SendError, Servers, Stopped, UdpNode},
    net::UdpSocket,
};

/// How long what is being answered may go on after the first signal.
const GRACE: Duration = Duration::from_secs(5);
/// What is stored at most, in bytes: anybody may store.
const MOST: usize = 256 << 20;
/// What an entry takes besides, in the table and of the allocator.
const ENTRY: usize = 160;
/// What a message holds that is sent: no answer could tell more, though more may come.
const LONGEST: usize = 65_422;

fn main() -> ExitCode {
    let line = message_line::or_exit("message_server", message_line::SERVER_HELP, ServerLine::parse);
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("message_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: ServerLine) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(line.workers).build()?;
    runtime.block_on(serve(line))?
}

async fn serve(line: ServerLine) -> Result<(), Box<dyn Error>> {
    let (addr, is_udp, store) = (line.addr, line.udp, Arc::new(Store::default()));
    let server = if is_udp {
        let own: Rc<OnceCell<UdpNode>> = Rc::default();
        let node = handlers(&line, &store, News::OfNode(own.clone())).node(UdpSocket::bind(addr)?)?;
        let _ = own.set(node.clone());
        Serving::Datagrams(node)
    } else {
        let factory = move |servers: &Servers| handlers(&line, &store, News::OfWorkers(servers.clone()));
        Serving::Connections(Servers::start_on_all(addr, factory)?)
    };
    serving::until_signal(server.local_addr(), server.closed()).await?;
    let aborted = server.shutdown().await.aborted;
    if aborted > 0 {
        let what = if is_udp { "handlers" } else { "connections" };
        tell!("message_server: {what} that were aborted {GRACE:?} after the signal: {aborted}");
    }
    Ok(())
}

/// What one worker answers.
fn handlers(line: &ServerLine, store: &Arc<Store>, news: News) -> Builder {
    let stored = |make: fn(&Store, &Incoming) -> Message| {
        let store = store.clone();
        move |incoming: Incoming| {
            let answer = make(&store, &incoming);
            async move { Some(answer) }
        }
    };
    line.builder()
        .on((Kind::REQUEST_URI, "echo"), |incoming: Incoming| async move {
            Some(incoming.answer(Kind::RESPOND_URI, incoming.message.content.clone()))
        })
        .on(Kind::REQUEST_URI, stored(Store::read))
        .on(Kind::CREATE_URI, stored(Store::write))
        .on(Kind::UPDATE_URI, stored(Store::write))
        .on(Kind::DELETE_URI, stored(Store::delete))
        .on(Kind::SUBSCRIBE_URI, stored(|_, incoming| subscribe(incoming)))
        .on(Kind::UNSUBSCRIBE_URI, stored(|_, incoming| unsubscribe(incoming)))
        .on(Kind::PUBLISH_URI, move |incoming: Incoming| {
            let news = news.clone();
            async move { Some(publish(&news, &incoming).await) }
        })
}

enum Serving {
    Connections(Servers),
    Datagrams(UdpNode),
}

impl Serving {
    fn local_addr(&self) -> SocketAddr {
        match self {
            Serving::Connections(servers) => servers.local_addr(),
            Serving::Datagrams(node) => node.local_addr(),
        }
    }

    async fn closed(&self) {
        let _stopped = match self {
            Serving::Connections(servers) => servers.closed().await,
            Serving::Datagrams(node) => node.closed().await,
        };
    }

    async fn shutdown(&self) -> Stopped {
        match self {
            Serving::Connections(servers) => servers.shutdown(GRACE).await,
            Serving::Datagrams(node) => node.shutdown(GRACE).await,
        }
    }
}

/// By whom subscribers are told.
#[derive(Clone)]
enum News {
    OfWorkers(Servers),
    /// Set before the first message comes.
    OfNode(Rc<OnceCell<UdpNode>>),
}

impl News {
    async fn notify(&self, topic: Bytes, news: Message) -> Result<usize, SendError> {
        match self {
            News::OfWorkers(servers) => servers.notify(topic, news).await,
            News::OfNode(node) => node.get().expect("set before the first message").notify(topic, news),
        }
    }
}

fn subscribe(incoming: &Incoming) -> Message {
    if incoming.peer.subscribe(incoming.message.uri.clone()) {
        incoming.answer(Kind::CONFIRM_SUBSCRIBE, "")
    } else {
        incoming.answer(Kind::NOT_PERMITTED, "too many subscriptions")
    }
}

fn unsubscribe(incoming: &Incoming) -> Message {
    incoming.peer.unsubscribe(&incoming.message.uri);
    incoming.answer(Kind::CONFIRM_UNSUBSCRIBE, "")
}

async fn publish(news: &News, incoming: &Incoming) -> Message {
    let it = incoming.answer(Kind::NOTIFY_URI, incoming.message.content.clone());
    match news.notify(incoming.message.uri.clone(), it).await {
        Ok(_subscribers) => incoming.answer(Kind::OK, ""),
        Err(error) => incoming.answer(Kind::ERROR, error.to_string()),
    }
}

/// Contents by uri, of all workers. A call holds the lock for as long as a look into a map takes.
#[derive(Default)]
struct Store {
    stored: Mutex<Stored>,
}

#[derive(Default)]
struct Stored {
    contents: HashMap<Bytes, Bytes>,
    /// Bytes of all keys and values.
    size: usize,
}

impl Store {
    fn with<R>(&self, body: impl FnOnce(&mut Stored) -> R) -> R {
        body(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, incoming: &Incoming) -> Message {
        match self.with(|stored| stored.contents.get(&incoming.message.uri).cloned()) {
            Some(content) => incoming.answer(Kind::RESPOND_URI, content),
            None => incoming.answer(Kind::NOT_FOUND, "not found"),
        }
    }

    fn write(&self, incoming: &Incoming) -> Message {
        let Message { uri, content, .. } = &incoming.message;
        if self.with(|stored| stored.write(uri, content)) {
            incoming.answer(Kind::OK, "")
        } else {
            incoming.answer(Kind::NOT_PERMITTED, "the store is full, or this too long for it")
        }
    }

    fn delete(&self, incoming: &Incoming) -> Message {
        self.with(|stored| stored.forget(&incoming.message.uri));
        incoming.answer(Kind::OK, "")
    }
}

impl Stored {
    /// What does not fit leaves what was there before.
    fn write(&mut self, uri: &Bytes, content: &Bytes) -> bool {
        let former = self.contents.get(uri).map_or(0, |content| size(uri, content));
        let fits = uri.len() + content.len() <= LONGEST;
        let fits = fits && self.size - former + size(uri, content) <= MOST;
        if fits {
            self.forget(uri);
            self.size += size(uri, content);
            // Copied: a slice of what was read would keep all of that.
            self.contents.insert(Bytes::copy_from_slice(uri), Bytes::copy_from_slice(content));
        }
        fits
    }

    fn forget(&mut self, uri: &Bytes) {
        if let Some(content) = self.contents.remove(uri) {
            self.size -= size(uri, &content);
        }
    }
}

fn size(uri: &Bytes, content: &Bytes) -> usize {
    ENTRY + uri.len() + content.len()
}
