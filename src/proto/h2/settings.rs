//! SETTINGS: what each parameter may be (RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1).

use super::Role;
use super::config::Config;
use super::error::Fault;
use super::error::Reason;
use super::flow::MAX_WINDOW;

/// Bytes of one entry.
pub(super) const ENTRY_LEN: usize = 6;

/// What windows start with before any SETTINGS (RFC 9113 §6.9.2).
pub(super) const INITIAL_WINDOW: u32 = 65_535;

/// The dynamic table that every decoder starts with (RFC 9113 §6.5.2).
pub(super) const HEADER_TABLE: u32 = 4_096;

/// Frame size that every peer accepts, and the largest that may be announced (RFC 9113 §4.2).
pub(super) const MIN_FRAME_SIZE: u32 = 1 << 14;
pub(super) const MAX_FRAME_SIZE: u32 = (1 << 24) - 1;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
const NO_RFC7540_PRIORITIES: u16 = 9;

/// A received parameter that concerns us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    HeaderTableSize(u32),
    MaxConcurrentStreams(u32),
    InitialWindowSize(u32),
    MaxFrameSize(u32),
    EnableConnectProtocol(bool),
    NoRfc7540Priorities(bool),
    /// Valid, and without meaning for us: `ENABLE_PUSH`, `MAX_HEADER_LIST_SIZE`, and everything unknown.
    Ignored,
}

impl Setting {
    /// Reads and checks one entry as a receiver of this role.
    pub(super) fn parse(entry: [u8; ENTRY_LEN], role: Role) -> Result<Setting, Fault> {
        let [a, b, rest @ ..] = entry;
        let value = u32::from_be_bytes(rest);
        match (u16::from_be_bytes([a, b]), value) {
            (HEADER_TABLE_SIZE, size) => Ok(Setting::HeaderTableSize(size)),
            (ENABLE_PUSH, 0) => Ok(Setting::Ignored),
            (ENABLE_PUSH, 1) if role == Role::Server => Ok(Setting::Ignored),
            (ENABLE_PUSH, 1) => Err(Fault::protocol("a server must not enable push")),
            (ENABLE_PUSH, _) => Err(Fault::protocol("ENABLE_PUSH is neither 0 nor 1")),
            (MAX_CONCURRENT_STREAMS, count) => Ok(Setting::MaxConcurrentStreams(count)),
            (INITIAL_WINDOW_SIZE, size) if size <= MAX_WINDOW => Ok(Setting::InitialWindowSize(size)),
            (INITIAL_WINDOW_SIZE, _) => {
                Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE above 2^31-1"))
            }
            (FRAME_SIZE, size @ MIN_FRAME_SIZE..=MAX_FRAME_SIZE) => Ok(Setting::MaxFrameSize(size)),
            (FRAME_SIZE, _) => Err(Fault::protocol("MAX_FRAME_SIZE out of range")),
            (ENABLE_CONNECT_PROTOCOL, on @ 0..=1) => Ok(Setting::EnableConnectProtocol(on == 1)),
            (ENABLE_CONNECT_PROTOCOL, _) => Err(Fault::protocol("ENABLE_CONNECT_PROTOCOL is not 0 or 1")),
            (NO_RFC7540_PRIORITIES, off @ 0..=1) => Ok(Setting::NoRfc7540Priorities(off == 1)),
            (NO_RFC7540_PRIORITIES, _) => Err(Fault::protocol("NO_RFC7540_PRIORITIES is not 0 or 1")),
            _ => Ok(Setting::Ignored),
        }
    }
}

/// The name of a parameter, as RFC 9113 §6.5.2 and its companions have it.
pub(super) const fn name(id: u16) -> &'static str {
    match id {
        HEADER_TABLE_SIZE => "SETTINGS_HEADER_TABLE_SIZE",
        ENABLE_PUSH => "SETTINGS_ENABLE_PUSH",
        MAX_CONCURRENT_STREAMS => "SETTINGS_MAX_CONCURRENT_STREAMS",
        INITIAL_WINDOW_SIZE => "SETTINGS_INITIAL_WINDOW_SIZE",
        FRAME_SIZE => "SETTINGS_MAX_FRAME_SIZE",
        MAX_HEADER_LIST_SIZE => "SETTINGS_MAX_HEADER_LIST_SIZE",
        ENABLE_CONNECT_PROTOCOL => "SETTINGS_ENABLE_CONNECT_PROTOCOL",
        NO_RFC7540_PRIORITIES => "SETTINGS_NO_RFC7540_PRIORITIES",
        _ => "UNKNOWN",
    }
}

/// Our own SETTINGS payload: only what differs from the protocol's initial values. A server never mentions
/// push (RFC 9113 §6.5.2 forbids 1, and 0 says nothing), a client always forbids it.
pub(super) fn announce(config: &Config, role: Role) -> Vec<u8> {
    let mut payload = Vec::with_capacity(6 * ENTRY_LEN);
    let mut put = |id: u16, value: u32| {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    };
    match role {
        Role::Server => put(MAX_CONCURRENT_STREAMS, config.max_concurrent_streams),
        Role::Client => put(ENABLE_PUSH, 0),
    }
    if config.header_table_size != HEADER_TABLE {
        put(HEADER_TABLE_SIZE, config.header_table_size);
    }
    if config.stream_window != INITIAL_WINDOW {
        put(INITIAL_WINDOW_SIZE, config.stream_window.min(MAX_WINDOW));
    }
    if config.max_frame_size != MIN_FRAME_SIZE {
        put(FRAME_SIZE, config.max_frame_size.clamp(MIN_FRAME_SIZE, MAX_FRAME_SIZE));
    }
    if role == Role::Server && config.connect_protocol {
        put(ENABLE_CONNECT_PROTOCOL, 1);
    }
    put(MAX_HEADER_LIST_SIZE, config.fields.list_bytes);
    put(NO_RFC7540_PRIORITIES, 1);
    payload
}

/// The peer's values, as far as we act on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerSettings {
    pub(super) initial_window: u32,
    pub(super) max_frame_size: u32,
    pub(super) max_concurrent_streams: u32,
    pub(super) connect_protocol: bool,
    /// It said so in its first SETTINGS.
    pub(super) no_rfc7540_priorities: bool,
}

impl PeerSettings {
    /// What holds before the peer's SETTINGS; for concurrency a guess that every server keeps (RFC 9113
    /// §6.5.2 recommends at least 100).
    pub(super) fn initial() -> PeerSettings {
        PeerSettings {
            initial_window: INITIAL_WINDOW,
            max_frame_size: MIN_FRAME_SIZE,
            max_concurrent_streams: 100,
            connect_protocol: false,
            no_rfc7540_priorities: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(id: u16, value: u32, role: Role) -> Result<Setting, Fault> {
        let mut entry = [0; ENTRY_LEN];
        entry[..2].copy_from_slice(&id.to_be_bytes());
        entry[2..].copy_from_slice(&value.to_be_bytes());
        Setting::parse(entry, role)
    }

    #[test]
    fn values_out_of_range_have_their_own_codes() {
        let protocol = |result: Result<Setting, Fault>| {
            matches!(result, Err(Fault::Connection(Reason::PROTOCOL_ERROR, _)))
        };
        assert!(protocol(parse(2, 2, Role::Server)));
        assert!(protocol(parse(2, 1, Role::Client)));
        assert_eq!(parse(2, 1, Role::Server), Ok(Setting::Ignored));
        assert!(protocol(parse(5, 16_383, Role::Server)));
        assert!(protocol(parse(5, 0, Role::Server)));
        assert!(protocol(parse(5, 1 << 24, Role::Server)));
        assert!(protocol(parse(8, 2, Role::Server)));
        assert!(protocol(parse(9, 2, Role::Server)));
        assert!(matches!(
            parse(4, 1 << 31, Role::Server),
            Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, _))
        ));
        assert_eq!(parse(4, MAX_WINDOW, Role::Server), Ok(Setting::InitialWindowSize(MAX_WINDOW)));
        assert_eq!(parse(0xff, 7, Role::Server), Ok(Setting::Ignored));
    }

    #[test]
    fn a_server_says_nothing_about_push_and_a_client_forbids_it() {
        let ids = |role| -> Vec<(u16, u32)> {
            announce(&Config::default(), role)
                .chunks(ENTRY_LEN)
                .map(|e| (u16::from_be_bytes([e[0], e[1]]), u32::from_be_bytes([e[2], e[3], e[4], e[5]])))
                .collect()
        };
        assert!(ids(Role::Server).iter().all(|&(id, _)| id != ENABLE_PUSH));
        assert!(ids(Role::Client).contains(&(ENABLE_PUSH, 0)));
    }
}
