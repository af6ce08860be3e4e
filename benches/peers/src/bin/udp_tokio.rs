//! The UDP echo server that tokio's documentation teaches: current-thread runtime, one datagram at a time.

use std::io;

use tokio::net::UdpSocket;
use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::udp;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &[]);
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = udp::socket(arguments.addr())?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        announce(socket.local_addr()?);
        let mut buffer = vec![0; 65_535];
        loop {
            let (len, source) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..len], source).await?;
        }
    })
}
