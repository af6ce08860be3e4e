//! What a client of HTTP/1 reads: responses taken apart, strictly, so that one byte too many shows.

#![expect(dead_code, reason = "every test file uses its own part of this")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Keeps the expectation above true in a program that happens to use everything.
const UNUSED: () = ();

/// Long enough for a loaded machine; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Connects; every read and write has a time limit, so that silence is a failure.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    socket.set_write_timeout(Some(PATIENCE)).expect("a time limit");
    socket.set_nodelay(true).expect("no delay");
    socket
}

/// Everything up to the end of the connection. A reset behind what came is an end, too: the server closed while we wrote.
pub(crate) fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} behind {:?}", String::from_utf8_lossy(&all)),
        }
    }
}

/// Reads one response; `head_only`: it answers HEAD.
pub(crate) fn read_answer(socket: &mut TcpStream, head_only: bool) -> Answer {
    let mut all = Vec::new();
    loop {
        if let Some((answer, used)) = parse(&all, head_only, false) {
            assert_eq!(used, all.len(), "bytes behind the response");
            return answer;
        }
        let mut piece = [0; 1];
        let n = socket.read(&mut piece).expect("the server answers");
        assert!(n > 0, "the connection ended inside {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece);
    }
}

/// Sends, whole or octet by octet, and reads to the end of the connection.
pub(crate) fn exchange(address: SocketAddr, request: &[u8], step: usize) -> Vec<u8> {
    let mut socket = connect(address);
    for piece in request.chunks(step) {
        // A server that has said no reads no more.
        if socket.write_all(piece).is_err() {
            break;
        }
    }
    read_to_end(&mut socket)
}

/// Every response in what came up to the end of a connection, interim ones left out.
pub(crate) fn answers(mut all: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    while !all.is_empty() {
        let Some((answer, used)) = parse(all, false, true) else {
            panic!("no response: {:?}", String::from_utf8_lossy(all));
        };
        all = &all[used..];
        if answer.status >= 200 {
            found.push(answer);
        }
    }
    found
}

/// The response at the front, and its length; `None` when it is not whole. `ended`: nothing more comes.
fn parse(all: &[u8], head_only: bool, ended: bool) -> Option<(Answer, usize)> {
    let end = all.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&all[..end - 4]).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let line = lines.next().expect("a status line");
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..4));
    let status = status.and_then(|text| text.trim_end().parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
    let fields: Vec<(String, String)> = lines
        .map(|line| {
            assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let mut answer = Answer { status, fields, content: Vec::new() };
    let bare = head_only || status < 200 || status == 204 || status == 304;
    let (length, chunked) = (answer.field("content-length"), answer.field("transfer-encoding"));
    assert!(length.is_none() || chunked.is_none(), "both ways to frame: {answer:?}");
    if bare {
        assert!(status == 304 || head_only || (length.is_none() && chunked.is_none()), "{answer:?}");
        return Some((answer, end));
    }
    if chunked.is_some() {
        let (content, used) = chunks(&all[end..])?;
        answer.content = content;
        return Some((answer, end + used));
    }
    let length = match length.map(|text| text.parse::<usize>().expect("a length")) {
        Some(length) => length,
        None if ended => all.len() - end,
        None => return None,
    };
    answer.content = all.get(end..end + length)?.to_vec();
    Some((answer, end + length))
}

/// Chunked content up to its last chunk and trailers, and how long it was.
fn chunks(all: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let end = at + all[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&all[at..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size in hex");
        at = end + 2;
        if size == 0 {
            loop {
                let end = at + all[at..].windows(2).position(|two| two == b"\r\n")?;
                let empty = end == at;
                at = end + 2;
                if empty {
                    return Some((content, at));
                }
            }
        }
        content.extend_from_slice(all.get(at..at + size)?);
        assert_eq!(all.get(at + size..at + size + 2)?, b"\r\n");
        at += size + 2;
    }
}
