//! An echo server on quinn-udp, which is what QUIC servers on tokio use: GRO and GSO, and batches to receive.

use std::io::{self, IoSliceMut};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::udp;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &[]);
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = udp::socket(arguments.addr())?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let socket = UdpSocket::from_std(socket)?;
        announce(socket.local_addr()?);
        let mut memory = vec![0; BATCH_SIZE * 65_535];
        loop {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let received = {
                let mut chunks = memory.chunks_exact_mut(65_535);
                let mut slices: [IoSliceMut; BATCH_SIZE] = std::array::from_fn(|_| {
                    IoSliceMut::new(chunks.next().expect("as many chunks as messages"))
                });
                socket
                    .async_io(Interest::READABLE, || state.recv((&socket).into(), &mut slices, &mut metas))
                    .await?
            };
            for (at, meta) in metas[..received].iter().enumerate() {
                let transmit = Transmit {
                    destination: meta.addr,
                    ecn: None,
                    contents: &memory[at * 65_535..][..meta.len],
                    segment_size: (meta.stride < meta.len).then_some(meta.stride),
                    src_ip: None,
                };
                socket.async_io(Interest::WRITABLE, || state.try_send((&socket).into(), &transmit)).await?;
            }
        }
    })
}
