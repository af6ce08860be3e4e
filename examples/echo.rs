//! A TCP echo server: what comes goes back, until the peer ends.
//!
//! `cargo run --release --example echo -- --addr 127.0.0.1:7000 --workers 2`
//!
//! Each worker has a listener of its own on the same port, and the system spreads the connections. An idle
//! connection owns no buffer: bytes are read into the worker's scratch and written from there, and only what
//! the kernel does not take is kept.

#[path = "support/ending.rs"]
mod ending;
#[path = "support/options.rs"]
mod options;
#[path = "support/stop.rs"]
mod stop;

use std::{
    cell::{Cell, RefCell},
    error::Error,
    future::poll_fn,
    io::{self, ErrorKind},
    process::ExitCode,
    rc::Rc,
    task::{Poll, Waker},
};

use options::{About, Options};
use stop::Stop;
use wakering::net::{TcpListener, TcpStream};

const ABOUT: About =
    About { name: "echo", what: "sends back what it is sent over TCP", addr: "127.0.0.1:7000", switch: None };

fn main() -> ExitCode {
    options::code(ABOUT.name, run(&ABOUT.options()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = wakering::Runtime::builder().workers(options.workers).build()?;
    runtime.block_on(serve(options))??;
    // Dropping the runtime aborts what is left.
    Ok(())
}

async fn serve(options: &Options) -> io::Result<()> {
    let builder = TcpListener::builder().reuse_port(options.workers > 1);
    let mut listeners = vec![builder.bind(options.addr)?];
    let addr = listeners[0].local_addr()?;
    for _ in 1..options.workers {
        listeners.push(builder.bind(addr)?);
    }
    let stop = Stop::default();
    let mut workers = Vec::new();
    for (worker, listener) in listeners.into_iter().enumerate() {
        let (listener, stop) = (listener.into_std(), stop.clone());
        workers.push(wakering::spawn_on(worker, move || accept(listener, stop)).map_err(io::Error::other)?);
    }
    stop::serve(addr, options.grace, stop, workers).await
}

/// Accepts until the end begins, then waits for the connections to end.
async fn accept(listener: std::net::TcpListener, stop: Stop) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let alive = Alive::default();
    let serve = |stream: TcpStream| {
        let one = alive.one();
        wakering::spawn(async move {
            // A connection's error is its peer's business, who has been told.
            drop(echo(stream).await);
            drop(one);
        });
    };
    while let Some(accepted) = stop.or(listener.accept()).await {
        serve(accepted?.0);
    }
    // Who stands in the queue already is still served.
    while let Ok((stream, _)) = listener.try_accept() {
        serve(stream);
    }
    drop(listener);
    alive.none().await;
    Ok(())
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    loop {
        let turn = reader.read_with(|bytes| match bytes {
            [] => Ok(Turn::Ended),
            bytes => match writer.try_write(bytes) {
                Ok(written) if written == bytes.len() => Ok(Turn::Written),
                Ok(written) => Ok(Turn::Left(bytes[written..].to_vec())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Turn::Left(bytes.to_vec())),
                Err(error) => Err(error),
            },
        });
        match turn.await?? {
            Turn::Written => {}
            Turn::Left(bytes) => writer.write_all(&bytes).await?,
            Turn::Ended => return Ok(()),
        }
    }
}

/// How one piece fared.
enum Turn {
    Written,
    Left(Vec<u8>),
    Ended,
}

/// Counts what is alive on one worker, and resolves when nothing is.
#[derive(Clone, Default)]
struct Alive(Rc<Count>);

#[derive(Default)]
struct Count {
    count: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

/// One that is alive for as long as this is.
struct One(Alive);

impl Alive {
    fn one(&self) -> One {
        self.0.count.set(self.0.count.get() + 1);
        One(self.clone())
    }

    async fn none(&self) {
        poll_fn(|cx| {
            if self.0.count.get() == 0 {
                return Poll::Ready(());
            }
            *self.0.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for One {
    fn drop(&mut self) {
        let alive = &self.0.0;
        alive.count.set(alive.count.get() - 1);
        if alive.count.get() == 0 {
            if let Some(waker) = alive.waiting.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}
