//! A server whose `stop` never returns, as written many times: it waits for connections that its client closes only
//! when `stop` has returned.
//!
//!     cargo run --example stop_hangs              hangs; `kill -USR1` has it say why
//!     cargo run --example stop_hangs -- mended    ends
//!
//! `docs/hangs.md` walks through finding the mistake.

#[path = "support/tell.rs"]
mod tell;

use std::{
    cell::RefCell,
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use tell::tell;
use wakering::{
    CancellationToken, JoinHandle, Runtime,
    net::{TcpListener, TcpStream},
    spawn, spawn_named,
    time::sleep,
};

/// How long connections may go on after `stop_within` was called.
const GRACE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(word) = std::env::args_os().skip(1).find(|word| word != "mended") {
        if word != "--help" && word != "-h" {
            tell!("stop_hangs: {word:?} is no word that it knows: `mended` is the only one");
            std::process::exit(2);
        }
        writeln!(
            io::stdout(),
            "usage: stop_hangs [mended]\n\nIts stop never returns, and `kill -USR1` has it say why; mended, it ends."
        )?;
        return Ok(());
    }
    let mended = std::env::args().nth(1).is_some_and(|word| word == "mended");
    let runtime = Runtime::builder().dump_on_signal().build()?;
    runtime.block_on(async move {
        let server = EchoServer::start()?;
        let mut client = TcpStream::connect(server.address).await?;
        client.write_all(b"hello").await?;
        client.read_exact(&mut [0; 5]).await?;

        writeln!(io::stdout(), "process {} stops its server", std::process::id())?;
        if mended {
            server.stop_within(GRACE).await;
        } else {
            server.stop().await;
        }
        drop(client);
        writeln!(io::stdout(), "stopped")?;
        Ok(())
    })?
}

/// Sends everything back.
struct EchoServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    connections: Rc<RefCell<Vec<JoinHandle<()>>>>,
    ending: CancellationToken,
}

impl EchoServer {
    fn start() -> io::Result<EchoServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, ending) = (listener.local_addr()?, CancellationToken::new());
        let connections: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
        let (open, token) = (connections.clone(), ending.clone());
        let accepting = spawn_named("accepts", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let token = token.clone();
                open.borrow_mut().push(spawn_named("connection", async move {
                    token.run_until_cancelled(echo(stream)).await;
                }));
            }
        });
        Ok(EchoServer { address, accepting, connections, ending })
    }

    /// Accepts no more, and waits until all connections have ended. They end when their clients close them.
    async fn stop(self) {
        self.accepting.abort();
        for connection in self.connections.take() {
            let _ = connection.await;
        }
    }

    /// Accepts no more, and lets connections go on for `grace`; what is left then is ended.
    async fn stop_within(self, grace: Duration) {
        let ending = self.ending.clone();
        let deadline = spawn(async move {
            sleep(grace).await;
            ending.cancel();
        });
        self.stop().await;
        deadline.abort();
    }
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
