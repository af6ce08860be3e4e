//! Several attempts to connect at once, each a little later than the one before: happy eyeballs (RFC 8305).

use std::{
    collections::VecDeque,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    net::{addresses::no_address, tcp::TcpStream},
    worker::timer::{Timer, now},
};

/// One attempt, boxed because a race has as many as there are addresses.
pub(super) type Attempt<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + 'a>>;

/// Sorts addresses so that the families take turns, beginning with that of the first (RFC 8305 §4). Within a family the
/// order stays.
pub(super) fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let (mut first, mut other) = (VecDeque::new(), VecDeque::new());
    for address in addresses {
        match first.front() {
            Some(front) if SocketAddr::is_ipv4(front) != address.is_ipv4() => other.push_back(address),
            Some(_) | None => first.push_back(address),
        }
    }
    let mut sorted = VecDeque::with_capacity(first.len() + other.len());
    while !first.is_empty() || !other.is_empty() {
        sorted.extend(first.pop_front());
        sorted.extend(other.pop_front());
    }
    sorted
}

/// The attempts of one connect.
///
/// The next attempt begins when the last one has not answered for the delay, or when any one has failed. The first to
/// succeed wins, and dropping the race ends the others and closes their sockets.
pub(super) struct Race<'a, F> {
    begin: F,
    waiting: VecDeque<SocketAddr>,
    running: Vec<Attempt<'a>>,
    delay: Duration,
    next: Timer,
    last: io::Error,
}

impl<'a, F: FnMut(SocketAddr) -> Attempt<'a>> Race<'a, F> {
    pub(super) fn new(waiting: VecDeque<SocketAddr>, delay: Duration, begin: F) -> Race<'a, F> {
        Race { begin, waiting, running: Vec::new(), delay, next: Timer::at(0), last: no_address() }
    }

    fn begin_next(&mut self) {
        if let Some(address) = self.waiting.pop_front() {
            let attempt = (self.begin)(address);
            self.running.push(attempt);
            self.next.set_deadline(now().saturating_add(crate::clock::nanos(self.delay)));
        }
    }

    /// Polls every attempt; those that failed are gone afterwards.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<TcpStream> {
        let mut at = 0;
        while at < self.running.len() {
            match self.running[at].as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(stream)) => return Some(stream),
                Poll::Ready(Err(error)) => {
                    drop(self.running.remove(at));
                    self.last = error;
                    self.begin_next();
                }
            }
        }
        None
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        if self.running.is_empty() {
            self.begin_next();
        }
        loop {
            if let Some(stream) = self.poll_running(cx) {
                return Poll::Ready(Ok(stream));
            }
            if self.running.is_empty() && self.waiting.is_empty() {
                return Poll::Ready(Err(std::mem::replace(&mut self.last, no_address())));
            }
            if self.waiting.is_empty() || self.next.poll_elapsed(cx).is_pending() {
                return Poll::Pending;
            }
            self.begin_next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_beginning_with_the_first() {
        let sorted = |text: &str| {
            let addresses = text.split(' ').map(|each| each.parse().expect("an address"));
            let sorted: Vec<String> = interleave(addresses).iter().map(ToString::to_string).collect();
            sorted.join(" ")
        };
        assert_eq!(sorted("[::1]:1 [::2]:1 1.1.1.1:1 1.1.1.2:1"), "[::1]:1 1.1.1.1:1 [::2]:1 1.1.1.2:1");
        assert_eq!(sorted("1.1.1.1:1 1.1.1.2:1 1.1.1.3:1 [::1]:1"), "1.1.1.1:1 [::1]:1 1.1.1.2:1 1.1.1.3:1");
        assert_eq!(sorted("1.1.1.1:1"), "1.1.1.1:1");
    }
}
