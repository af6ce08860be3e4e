//! The echo server of monoio's examples, on its epoll driver: a task and a 16 KiB buffer for each connection.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{LegacyDriver, RuntimeBuilder};
use wakering_peers::arguments::{Arguments, announce};

const BUFFER: usize = 16 * 1024;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &[]);
    RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(async {
        let listener = TcpListener::bind(arguments.addr())?;
        announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            monoio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        let (received, filled) = stream.read(buffer).await;
        if received? == 0 {
            return Ok(());
        }
        let (written, mut emptied) = stream.write_all(filled).await;
        written?;
        emptied.clear();
        buffer = emptied;
    }
}
