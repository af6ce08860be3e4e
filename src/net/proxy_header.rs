//! The header by which a proxy tells whose connection it passes on: PROXY protocol, versions 1 and 2.
//!
//! The header is taken from the front of a connection and not one byte more. What it says is read by the crate `proxy-header`;
//! what is done here is to find its end without waiting for bytes that need not come, to bound it, and to be stricter
//! where that crate is lenient.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

use crate::{
    limits::{PROXY_HEADER_MAX, PROXY_HEADER_TIMEOUT, PROXY_V1_MAX},
    net::TcpStream,
    worker::timer::Timer,
};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const GREETING: &[u8; 6] = b"PROXY ";
/// Version 2 up to the length of its rest.
const FIXED: usize = 16;
const INVALID: io::ErrorKind = io::ErrorKind::InvalidData;

/// What a proxy says of the connection that it passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxied {
    /// It is a client's, whose address was `source`; it had connected to `destination`.
    Client {
        /// The client's address.
        source: SocketAddr,
        /// The address that the client connected to, which is one of the proxy's.
        destination: SocketAddr,
    },
    /// It is the proxy's own, such as a health check, or a client's of which nothing can be told: `LOCAL`, `UNKNOWN`, and
    /// what came over a Unix socket.
    Own,
}

/// Whose PROXY headers are believed, and how long one may take.
///
/// Whoever may connect to the server and is trusted here can pretend to be any client. So trust is by choice: the addresses
/// of the proxies, and no others.
///
/// # Examples
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
/// use wakering::net::proxy_header::ProxyHeaders;
///
/// let balancers = ProxyHeaders::trusting([IpAddr::from(Ipv4Addr::new(10, 0, 0, 5))]);
/// assert!(balancers.trusts(Ipv4Addr::new(10, 0, 0, 5).into()));
/// assert!(!balancers.trusts(Ipv4Addr::new(10, 0, 0, 6).into()));
/// ```
#[derive(Clone)]
pub struct ProxyHeaders {
    trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    limit: Duration,
}

impl ProxyHeaders {
    /// Believes the proxies at these addresses.
    #[must_use]
    pub fn trusting(proxies: impl IntoIterator<Item = IpAddr>) -> ProxyHeaders {
        let proxies: Vec<IpAddr> = proxies.into_iter().map(|it| it.to_canonical()).collect();
        ProxyHeaders::trusting_if(move |peer| proxies.contains(&peer))
    }

    /// Believes those of whose address `trusted` says so: a network, for example. An IPv4 address is asked for as such, also
    /// where it came to a socket of IPv6.
    #[must_use]
    pub fn trusting_if(trusted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> ProxyHeaders {
        ProxyHeaders { trusted: Arc::new(trusted), limit: PROXY_HEADER_TIMEOUT }
    }

    /// How long a header may take from the connection on; 5 seconds by default.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> ProxyHeaders {
        self.limit = limit;
        self
    }

    /// Whether the peer at this address is believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        (self.trusted)(peer.to_canonical())
    }

    /// Reads the header from the front of a connection that was accepted from `peer`, and says whose it is; everything behind the
    /// header is left in the stream.
    ///
    /// A peer that is not trusted sends no header: the connection is its own.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `InvalidData` for anything but a header, and for one that is not exactly as the protocol has it or is
    /// longer than 2 KiB; `UnexpectedEof`; else those of reading. The connection is to be dropped then.
    ///
    /// # Cancellation
    ///
    /// A part of the header may have been read: the connection is to be dropped.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::{Ipv4Addr, SocketAddr};
    /// use wakering::net::{TcpListener, TcpStream, listen, proxy_header::ProxyHeaders};
    ///
    /// async fn greet(mut stream: TcpStream, peer: SocketAddr) -> std::io::Result<()> {
    ///     let proxies = ProxyHeaders::trusting([Ipv4Addr::LOCALHOST.into()]);
    ///     let client = proxies.client(&mut stream, peer).await?;
    ///     stream.write_all(format!("Hello, {client}\n").as_bytes()).await
    /// }
    ///
    /// wakering::run(async { listen(TcpListener::bind("127.0.0.1:7000")?).serve(greet).await })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn client(&self, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
        if !self.trusts(peer.ip()) {
            return Ok(peer);
        }
        match in_time(read(stream), Timer::after(self.limit)).await? {
            Proxied::Client { source, destination: _ } => Ok(source),
            Proxied::Own => Ok(peer),
        }
    }
}

impl fmt::Debug for ProxyHeaders {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ProxyHeaders").field("timeout", &self.limit).finish_non_exhaustive()
    }
}

async fn in_time(header: impl Future<Output = io::Result<Proxied>>, mut limit: Timer) -> io::Result<Proxied> {
    let mut header = pin!(header);
    poll_fn(|context| {
        if let Poll::Ready(read) = header.as_mut().poll(context) {
            return Poll::Ready(read);
        }
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "no PROXY header in time"));
        limit.poll_elapsed(context).map(|()| late())
    })
    .await
}

/// Reads a PROXY header of either version from the front of a connection, without a time limit: [`ProxyHeaders::client`] has one.
///
/// # Errors
///
/// As there.
///
/// # Cancellation
///
/// A part of the header may have been read.
///
/// Source: <https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>.
pub async fn read(stream: &mut TcpStream) -> io::Result<Proxied> {
    let mut header = Vec::with_capacity(PROXY_V1_MAX);
    // Neither version is shorter than this. A stranger is told from a proxy by its first wrong byte.
    while header.len() < SIGNATURE.len() {
        take(stream, &mut header, SIGNATURE.len()).await?;
        if !begins_as(&header, SIGNATURE) && !begins_as(&header, GREETING) {
            return Err(invalid("the connection begins without a PROXY header"));
        }
    }
    if header.starts_with(SIGNATURE) { second(stream, header).await } else { first(stream, header).await }
}

/// Whether what has come may become what begins with `start`, or has.
fn begins_as(header: &[u8], start: &[u8]) -> bool {
    let both = header.len().min(start.len());
    header[..both] == start[..both]
}

/// Version 1: a line of text.
async fn first(stream: &mut TcpStream, mut header: Vec<u8>) -> io::Result<Proxied> {
    let mut piece = [0; PROXY_V1_MAX];
    while !header.ends_with(b"\n") {
        let room = PROXY_V1_MAX - header.len();
        if room == 0 {
            return Err(invalid("a PROXY header of version 1 without an end"));
        }
        // What is looked at is taken next, up to the end of the line: nothing behind it, and nothing twice.
        let seen = stream.peek(&mut piece[..room]).await?;
        let end = piece[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |at| at + 1);
        let wanted = header.len() + end.max(1);
        take(stream, &mut header, wanted).await?;
    }
    let (parsed, length) = parse(&header)?;
    if length != header.len() || !is_exact(&header) {
        return Err(invalid("a PROXY header of version 1 that is not exact"));
    }
    told(&parsed)
}

/// Single blanks, no signs and no zeros in front of ports.
fn is_exact(header: &[u8]) -> bool {
    let Some(line) = header.strip_suffix(b"\r\n") else { return false };
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let port = |word: &[u8]| word == b"0" || word.first().is_some_and(|digit| (b'1'..=b'9').contains(digit));
    match words[..] {
        // What follows is for nobody (§2.1).
        [b"PROXY", b"UNKNOWN", ..] => true,
        [b"PROXY", b"TCP4" | b"TCP6", _, _, source, destination] => port(source) && port(destination),
        _ => false,
    }
}

/// Version 2: 16 bytes, the last two of which say how many more there are.
async fn second(stream: &mut TcpStream, mut header: Vec<u8>) -> io::Result<Proxied> {
    while header.len() < FIXED {
        take(stream, &mut header, FIXED).await?;
    }
    let length = FIXED + usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > PROXY_HEADER_MAX {
        return Err(invalid("a PROXY header that is too long"));
    }
    while header.len() < length {
        take(stream, &mut header, length).await?;
    }
    match header[12] {
        // Whatever the rest says: a proxy that speaks for itself (§2.2).
        0x20 => Ok(Proxied::Own),
        0x21 => told(&parse(&header)?.0),
        _ => Err(invalid("a PROXY header of a version or command that is not known")),
    }
}

/// Reads what there is, and no more than is missing to `wanted` bytes.
async fn take(stream: &mut TcpStream, header: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
    let begun = header.len();
    header.resize(wanted, 0);
    let read = stream.read(&mut header[begun..]).await?;
    header.truncate(begun + read);
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn parse(header: &[u8]) -> io::Result<(ProxyHeader<'_>, usize)> {
    let options = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    ProxyHeader::parse(header, options).map_err(|_error| invalid("a PROXY header that is broken"))
}

fn told(header: &ProxyHeader<'_>) -> io::Result<Proxied> {
    match header.proxied_address() {
        None => Ok(Proxied::Own),
        Some(address) if address.protocol == Protocol::Stream => {
            Ok(Proxied::Client { source: address.source, destination: address.destination })
        }
        Some(_datagrams) => Err(invalid("a PROXY header of datagrams on a connection")),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(INVALID, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::TcpListener;

    /// What a connection is taken for that brings `pieces`, one after the other, and what is left of it behind the header.
    fn read_from(pieces: &[&[u8]]) -> io::Result<(Proxied, Vec<u8>)> {
        crate::worker::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            client.set_nodelay(true).unwrap();
            let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
            let sender = crate::worker::spawn(async move {
                for piece in pieces {
                    // A server that has had enough closes.
                    if client.write_all(&piece).await.is_err() {
                        return;
                    }
                    crate::worker::yield_now().await;
                }
                drop(client.shutdown(std::net::Shutdown::Write));
                let _ = client.read(&mut [0]).await;
            });
            let proxied = read(&mut server).await?;
            let mut rest = bytes::BytesMut::new();
            while server.read_buf(&mut rest).await? > 0 {}
            drop(server);
            sender.await.unwrap();
            Ok((proxied, rest.to_vec()))
        })
        .unwrap()
    }

    fn client(source: &str, destination: &str) -> Proxied {
        Proxied::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0x12, 0x34, 0x01, 0xbb];

    #[test]
    fn both_versions_are_read_to_their_end_and_not_beyond() {
        let told = client("192.0.2.1:4660", "198.51.100.7:443");
        let one = b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443\r\n".to_vec();
        let two = v2(0x21, 0x11, IPV4);
        for header in [one, two] {
            let whole = [header.as_slice(), b"PRI * HTTP/2.0\r\n"].concat();
            assert_eq!(read_from(&[&whole]).unwrap(), (told, b"PRI * HTTP/2.0\r\n".to_vec()));
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(read_from(&bytes).unwrap(), (told, b"PRI * HTTP/2.0\r\n".to_vec()), "byte by byte");
        }
    }

    #[test]
    fn addresses_of_ipv6_are_read() {
        let one = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
        let told = client("[2001:db8::1]:1", "[2001:db8::2]:65535");
        assert_eq!(read_from(&[one]).unwrap().0, told);
        let mut rest = [0; 36];
        rest[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        rest[15] = 1;
        rest[16..20].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        rest[31] = 2;
        rest[32..].copy_from_slice(&[0, 1, 255, 255]);
        assert_eq!(read_from(&[&v2(0x21, 0x21, &rest)]).unwrap().0, told);
    }

    #[test]
    fn what_is_the_proxys_own_or_unknown_has_no_address() {
        let headers = [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ::2 1 2\r\n".to_vec(),
            v2(0x20, 0x00, b""),
            v2(0x20, 0x11, IPV4),
            v2(0x20, 0x77, b"whatever"),
            v2(0x21, 0x00, b""),
            v2(0x21, 0x31, &[0; 216]),
        ];
        for header in headers {
            let whole = [header.as_slice(), b"x"].concat();
            assert_eq!(read_from(&[&whole]).unwrap(), (Proxied::Own, b"x".to_vec()), "{header:?}");
        }
    }

    #[test]
    fn fields_behind_the_addresses_are_passed_over() {
        let rest = [IPV4, &[0x04, 0, 3, 0, 0, 0], &[0xe0, 0, 1, 9]].concat();
        let whole = [v2(0x21, 0x11, &rest).as_slice(), b"x"].concat();
        assert_eq!(
            read_from(&[&whole]).unwrap(),
            (client("192.0.2.1:4660", "198.51.100.7:443"), b"x".to_vec())
        );
    }

    #[test]
    fn what_is_not_exactly_a_header_is_refused() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'a'; 200], b"\r\n"].concat();
        let (short, datagrams) = (v2(0x21, 0x11, &IPV4[..11]), v2(0x21, 0x12, IPV4));
        let (command, version) = (v2(0x22, 0x11, IPV4), v2(0x11, 0x11, IPV4));
        let (family, huge) = (v2(0x21, 0x41, IPV4), v2(0x21, 0x11, &[0; 4000]));
        let refused: [&[u8]; 22] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443 \r\n",
            b"PROXY  TCP4 192.0.2.1 198.51.100.7 4660 443\r\n",
            b"PROXY TCP4  192.0.2.1 198.51.100.7 4660 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 +4660 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 04660 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 65536\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 4660\r\n",
            b"PROXY TCP4 192.0.2.01 198.51.100.7 4660 443\r\n",
            b"PROXY TCP4 ::1 ::2 4660 443\r\n",
            b"PROXY TCP6 192.0.2.1 198.51.100.7 4660 443\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.7 4660 443\r\n",
            b"PROXY UNKNOWNX\r\n\r\n",
            &long,
            &short,
            &datagrams,
            &command,
            &version,
            &family,
            &huge,
        ];
        for header in refused {
            let shown = String::from_utf8_lossy(header);
            assert_eq!(read_from(&[header]).unwrap_err().kind(), INVALID, "{shown}");
        }
    }

    #[test]
    fn a_connection_that_ends_before_its_header_is_an_early_end() {
        for part in
            [&b""[..], b"PROXY", b"PROXY TCP4 192.0.2.1", &SIGNATURE[..7], &v2(0x21, 0x11, IPV4)[..20]]
        {
            assert_eq!(read_from(&[part]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{part:?}");
        }
    }
}
