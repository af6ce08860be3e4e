//! What the socket tests share: a runtime with a watchdog, pairs of connections, and a look at one poll.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]
#![expect(dead_code, reason = "each test program uses its own part of these helpers")]

use std::{
    env, fs,
    future::{Future, poll_fn},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    task::Poll,
    thread,
    time::Duration,
};

use wakering::{
    Runtime,
    net::{TcpListener, TcpStream},
};

/// Only a test that hangs takes so long.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(60);

/// Port 0 of the loopback address.
pub(crate) const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Keeps the expectation above true in a program that happens to use everything.
const UNUSED: () = ();

/// Runs `test` on a runtime of one worker; a test that hangs ends its program, with its name and what everybody waits for.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = Runtime::new().expect("a runtime");
    let (handle, name) = (runtime.handle(), thread::current().name().unwrap_or("a test").to_owned());
    let (done, ended) = channel::<()>();
    let watchdog = thread::spawn(move || {
        if ended.recv_timeout(FOR_EVER) == Err(RecvTimeoutError::Timeout) {
            let lines = format!("test {name} ... FAILED: it hangs\n{}\n", handle.dump());
            drop(io::stderr().write_all(lines.as_bytes()));
            std::process::abort();
        }
    });
    let output = runtime.block_on(test).expect("nothing else runs on this thread");
    drop(runtime);
    drop(done);
    watchdog.join().expect("the watchdog does not panic");
    output
}

/// Two ends of one connection, both ours.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

/// One end of a connection ours, the other one blocking, with a time limit against tests that hang.
pub(crate) fn pair_with_std() -> (TcpStream, StdStream) {
    let listener = StdListener::bind(LOOPBACK).unwrap();
    let other = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    other.set_read_timeout(Some(FOR_EVER)).unwrap();
    other.set_write_timeout(Some(FOR_EVER)).unwrap();
    (TcpStream::from_std(ours).unwrap(), other)
}

/// Polls a future once.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Writes until the kernel takes no more, and says how much it took.
pub(crate) async fn fill(stream: &TcpStream) -> usize {
    let mut total = 0;
    loop {
        match stream.try_write(&[7; 65_536]) {
            Ok(written) => total += written,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                // The other side's buffer may still be filling: what is on its way counts as taken.
                wakering::time::sleep(Duration::from_millis(20)).await;
                // One refusal is no proof where calls fail on demand.
                match (0..8).find_map(|_| stream.try_write(&[7]).ok()) {
                    Some(written) => total += written,
                    None => return total,
                }
            }
        }
    }
}

/// Closes with a reset instead of an end.
pub(crate) fn reset(stream: StdStream) {
    let stream = TcpStream::from_std(stream).unwrap();
    stream.set_linger(Some(Duration::ZERO)).unwrap();
}

/// Octets that differ from place to place and from seed to seed.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(step).collect()
}

/// Nanoseconds that this thread has spent on a CPU, where the system tells.
pub(crate) fn thread_cpu() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Sends one octet of urgent data.
pub(crate) fn send_urgent(stream: &StdStream, octet: u8) {
    // SAFETY: the pointer is to one readable octet, which is the length that is given.
    let sent = unsafe { libc::send(stream.as_raw_fd(), (&raw const octet).cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1, "{}", io::Error::last_os_error());
}

/// Whether a program that is started does not inherit the descriptor.
pub(crate) fn is_close_on_exec(fd: impl AsFd) -> bool {
    // SAFETY: F_GETFD takes no argument and touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC != 0
}

/// Changes how many connections may wait in a listener's queue.
pub(crate) fn set_backlog(listener: impl AsFd, connections: i32) {
    // SAFETY: listen takes two integers and touches no memory of ours; it may be called again.
    let done = unsafe { libc::listen(listener.as_fd().as_raw_fd(), connections) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Makes the kernel refuse to cut trains up, by an option of the socket layer: it does so only where it makes checksums.
pub(crate) fn send_without_checksums(socket: &impl AsFd) {
    const SO_NO_CHECK: i32 = 11;
    let (on, length) = (1_i32, size_of::<i32>() as libc::socklen_t);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer is to a readable integer, whose length is given.
    let done = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, SO_NO_CHECK, (&raw const on).cast(), length) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Gives `SIGPIPE` its default action back, which Rust's start-up code takes away.
pub(crate) fn let_sigpipe_kill() {
    // SAFETY: the default action is no function of ours; no other thread depends on the disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Whether this process is the child of the test that calls; if not, the test `name` is run again in a child, under
/// `limits` (commands of the shell), and must pass there.
pub(crate) fn in_child(name: &str, limits: &str) -> bool {
    const MARK: &str = "WAKERING_TEST_CHILD";
    if env::var_os(MARK).is_some() {
        return true;
    }
    let program = env::current_exe().unwrap();
    let script = format!("{limits}\nexec \"$0\" --exact {name} --nocapture");
    let child =
        Command::new("sh").arg("-c").arg(script).arg(program).env(MARK, "1").stdin(Stdio::null()).output();
    let child = child.unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{}: {said}", child.status);
    false
}

/// The address of nobody: a port that was free a moment ago.
pub(crate) fn nobody() -> SocketAddr {
    StdListener::bind(LOOPBACK).unwrap().local_addr().unwrap()
}
