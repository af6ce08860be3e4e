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

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use message_line::ServerLine;
use wakering::{
    message::{Builder, Incoming, Kind, Message, SendError, Server, UdpNode},
    net::{TcpListener, UdpSocket},
};

/// How long what is being answered may go on after the first signal.
const GRACE: Duration = Duration::from_secs(5);
/// What is stored at most, in bytes: anybody may store.
const MOST: usize = 256 << 20;

fn main() -> ExitCode {
    let line = message_line::or_exit("message_server", message_line::SERVER_HELP, ServerLine::parse);
    let served = wakering::run(serve(&line));
    match served.map_err(Into::into).and_then(|outcome| outcome) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("message_server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(line: &ServerLine) -> Result<(), Box<dyn Error>> {
    let (store, own) = (Rc::new(Store::default()), Rc::new(OnceCell::<Serving>::new()));
    let stored = |make: fn(&Store, &Incoming) -> Message| {
        let store = store.clone();
        move |incoming: Incoming| {
            let answer = make(&store, &incoming);
            async move { Some(answer) }
        }
    };
    let publisher = own.clone();
    let builder = Builder::new()
        .layer(line.layer())
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
            let server = publisher.get().expect("set before the first message").clone();
            async move { Some(publish(&server, &incoming)) }
        });
    let server = if line.udp {
        Serving::Datagrams(builder.node(UdpSocket::bind(line.addr)?)?)
    } else {
        Serving::Connections(builder.serve(TcpListener::bind(line.addr)?)?)
    };
    let _ = own.set(server.clone());
    ending::first_signal(server.local_addr()).await?;
    server.shutdown().await;
    Ok(())
}

#[derive(Clone)]
enum Serving {
    Connections(Server),
    Datagrams(UdpNode),
}

impl Serving {
    fn local_addr(&self) -> SocketAddr {
        match self {
            Serving::Connections(server) => server.local_addr(),
            Serving::Datagrams(node) => node.local_addr(),
        }
    }

    fn notify(&self, topic: &[u8], news: Message) -> Result<usize, SendError> {
        match self {
            Serving::Connections(server) => server.notify(topic, news),
            Serving::Datagrams(node) => node.notify(topic, news),
        }
    }

    async fn shutdown(&self) {
        match self {
            Serving::Connections(server) => server.shutdown(GRACE).await,
            Serving::Datagrams(node) => node.shutdown(GRACE).await,
        };
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

fn publish(server: &Serving, incoming: &Incoming) -> Message {
    let news = incoming.answer(Kind::NOTIFY_URI, incoming.message.content.clone());
    match server.notify(&incoming.message.uri, news) {
        Ok(_subscribers) => incoming.answer(Kind::OK, ""),
        Err(error) => incoming.answer(Kind::ERROR, error.to_string()),
    }
}

/// Contents by uri.
#[derive(Default)]
struct Store {
    contents: RefCell<HashMap<Bytes, Bytes>>,
    /// Bytes of all keys and values.
    size: Cell<usize>,
}

impl Store {
    fn read(&self, incoming: &Incoming) -> Message {
        match self.contents.borrow().get(&incoming.message.uri) {
            Some(content) => incoming.answer(Kind::RESPOND_URI, content.clone()),
            None => incoming.answer(Kind::NOT_FOUND, "not found"),
        }
    }

    fn write(&self, incoming: &Incoming) -> Message {
        let Message { uri, content, .. } = &incoming.message;
        self.forget(uri);
        let size = uri.len() + content.len();
        if self.size.get() + size > MOST {
            return incoming.answer(Kind::NOT_PERMITTED, "the store is full");
        }
        self.size.set(self.size.get() + size);
        // Copied: a slice of what was read would keep all of that.
        self.contents.borrow_mut().insert(Bytes::copy_from_slice(uri), Bytes::copy_from_slice(content));
        incoming.answer(Kind::OK, "")
    }

    fn delete(&self, incoming: &Incoming) -> Message {
        self.forget(&incoming.message.uri);
        incoming.answer(Kind::OK, "")
    }

    fn forget(&self, uri: &Bytes) {
        if let Some(content) = self.contents.borrow_mut().remove(uri) {
            self.size.set(self.size.get() - uri.len() - content.len());
        }
    }
}
