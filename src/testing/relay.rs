//! A link in front of a real server.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use crate::{
    net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream},
    task::JoinHandle,
    testing::{Link, Reader, Writer},
    worker::context::spawn,
};

/// What one turn of a relay carries.
const PIECE: usize = 16 * 1024;

/// Listens on the loopback address and carries each connection to `target` over a link of its own: `there` towards it,
/// `back` from it. The faults of the *n*th connection come out of the seed plus *n*.
///
/// With real sockets at both ends, time has to be real, too.
///
/// # Errors
///
/// When no port can be had.
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// HTTP over a line that takes 2 ms each way and cuts everything into pieces:
///
/// ```
/// use std::time::Duration;
/// use wakering::{http::{Body, Request, Response, Server, client}, net::TcpListener, testing::{Link, relay}};
///
/// wakering::run(async {
///     let handler = |_: Request<Body>| async { Response::new(Body::from("hello")) };
///     let server = Server::start(TcpListener::bind("127.0.0.1:0")?, handler)?;
///     let link = Link::new(1).latency(Duration::from_millis(2)).short_reads();
///     let line = relay(server.local_addr(), link.clone(), link)?;
///
///     let mut connection = client::connect(line.local_addr()).await?;
///     let request = Request::get("http://server/").body(Body::empty())?;
///     let response = connection.send(request).await?;
///     assert_eq!(response.into_body().collect(10).await?, "hello");
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn relay(target: SocketAddr, there: Link, back: Link) -> io::Result<Relay> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let local_addr = listener.local_addr()?;
    let serving = spawn(async move {
        let mut number = 0;
        while let Ok((near, _)) = listener.accept().await {
            let (mut there, mut back) = (there.clone(), back.clone());
            there.seed = there.seed.wrapping_add(number);
            back.seed = back.seed.wrapping_add(number);
            number += 1;
            drop(spawn(carry(near, target, there, back)));
        }
    });
    Ok(Relay { local_addr, serving })
}

/// A relay at work; dropping it ends the listening, and lets connections that there are go on.
#[derive(Debug)]
pub struct Relay {
    local_addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Relay {
    /// Where to connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One connection: two sockets with the link between them. What fails on one side ends the other by being dropped.
async fn carry(near: TcpStream, target: SocketAddr, there: Link, back: Link) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    for stream in [&near, &far] {
        // What a socket holds back would be latency that nobody asked for.
        let _ = stream.set_nodelay(true);
    }
    let (near_end, far_end) = there.pair_with(back);
    for (socket, end) in [(near, near_end), (far, far_end)] {
        let ((from_socket, to_socket), (from_link, to_link)) = (socket.into_split(), end.into_split());
        drop(spawn(onto_link(from_socket, to_link)));
        drop(spawn(off_link(from_link, to_socket)));
    }
}

async fn onto_link(mut socket: OwnedReadHalf, mut link: Writer) {
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = socket.read(&mut piece).await {
        if link.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}

async fn off_link(mut link: Reader, mut socket: OwnedWriteHalf) {
    let mut piece = vec![0; PIECE];
    loop {
        match link.read(&mut piece).await {
            Ok(0) => return,
            Ok(read) if socket.write_all(&piece[..read]).await.is_ok() => {}
            Ok(_) | Err(_) => return,
        }
    }
}
