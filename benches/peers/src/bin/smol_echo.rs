//! The echo server of smol's examples: a `LocalExecutor`, a task and a 16 KiB buffer for each connection.

use std::io;
use std::net::TcpListener;

use async_io::Async;
use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use wakering_peers::arguments::{Arguments, announce};

const BUFFER: usize = 16 * 1024;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &[]);
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = Async::<TcpListener>::bind(arguments.addr())?;
        announce(listener.get_ref().local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            executor.spawn(echo(stream)).detach();
        }
    }))
}

async fn echo(mut stream: Async<std::net::TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let received = stream.read(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..received]).await?;
    }
}
