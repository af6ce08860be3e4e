//! A bound on the errors that one host is told, so that nobody is answered out of proportion.
//!
//! The sender's address of a datagram may be somebody else's: who is told much that he did not ask for is a victim. A host
//! may be told a number of errors at once, and gets that number anew over a second.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    limits::{MESSAGE_COMPLAINTS, MESSAGE_SOURCES},
    message::host::host_of,
};

/// How long after its last error a host has all its errors again, so that nothing need be known of it.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// Hosts that were told errors of late.
#[derive(Debug, Default)]
pub(super) struct Storm {
    hosts: HashMap<IpAddr, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Storm {
    /// Whether a host may be told an error now; that counts as told.
    pub(super) fn may_tell(&mut self, to: SocketAddr, now: Instant) -> bool {
        let host = host_of(to);
        if !self.hosts.contains_key(&host) && self.hosts.len() >= MESSAGE_SOURCES {
            self.hosts.retain(|_, bucket| now.saturating_duration_since(bucket.at) < FORGOTTEN);
            if self.hosts.len() >= MESSAGE_SOURCES {
                return false;
            }
        }
        let full = f64::from(MESSAGE_COMPLAINTS);
        let bucket = self.hosts.entry(host).or_insert(Bucket { left: full, at: now });
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * full;
        bucket.left = (bucket.left + gained).min(full);
        bucket.at = now;
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn host(number: u32) -> SocketAddr {
        (Ipv4Addr::from_bits(number), 1).into()
    }

    #[test]
    fn a_host_is_told_so_many_errors_and_more_as_time_goes_by() {
        let (mut storm, began) = (Storm::default(), Instant::now());
        let told = |storm: &mut Storm, at| (0..1000).filter(|_| storm.may_tell(host(1), at)).count();
        assert_eq!(told(&mut storm, began), MESSAGE_COMPLAINTS as usize);
        assert_eq!(told(&mut storm, began + Duration::from_millis(500)), MESSAGE_COMPLAINTS as usize / 2);
        assert_eq!(told(&mut storm, began + Duration::from_secs(9)), MESSAGE_COMPLAINTS as usize);
        assert!(storm.may_tell(host(2), began));
    }

    #[test]
    fn a_network_of_ipv6_is_told_what_one_host_is() {
        let (mut storm, began) = (Storm::default(), Instant::now());
        let mut address = |last: u128| {
            let address = std::net::Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | last);
            storm.may_tell((address, 1).into(), began)
        };
        assert_eq!((0..1000).filter(|last| address(*last)).count(), MESSAGE_COMPLAINTS as usize);
        assert!(address(1 << 64));
    }

    #[test]
    fn hosts_are_forgotten_and_no_more_are_known_than_there_is_room_for() {
        let (mut storm, began) = (Storm::default(), Instant::now());
        let most = u32::try_from(MESSAGE_SOURCES).unwrap();
        assert!((0..most).all(|number| storm.may_tell(host(number), began)));
        assert!(!storm.may_tell(host(most), began), "as many as fit were told just now");
        assert!(storm.may_tell(host(most), began + FORGOTTEN));
        assert_eq!(storm.hosts.len(), 1);
    }
}
