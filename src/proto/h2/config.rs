//! What a user may set, with defaults from `limits`.

use std::time::Duration;

use http::HeaderValue;

use super::hpack::FieldLimits;
use crate::limits;

/// Settings, bounds and deadlines of one connection; the defaults are those of `limits.rs`.
///
/// Share one between connections: the constructors take anything that turns into an `Arc<Config>`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Receive window of a stream (`SETTINGS_INITIAL_WINDOW_SIZE`); with 0 no content would ever come.
    pub stream_window: u32,
    /// Receive window of the connection; at least 65,535, which the protocol starts with.
    pub connection_window: u32,
    /// Whether the windows grow to what the path holds, which is measured with PINGs while content comes.
    pub adaptive_window: bool,
    /// What a stream's window may grow to.
    pub max_stream_window: u32,
    /// What the connection's window may grow to: the most content that may lie unread.
    pub max_connection_window: u32,
    /// Largest frame that we accept (`SETTINGS_MAX_FRAME_SIZE`, 16,384 to 16,777,215).
    pub max_frame_size: u32,
    /// Streams that the peer may have at a time (`SETTINGS_MAX_CONCURRENT_STREAMS`).
    pub max_concurrent_streams: u32,
    /// Whether clients may open tunnels for other protocols (`SETTINGS_ENABLE_CONNECT_PROTOCOL`, RFC 8441); the handler
    /// finds a [`Protocol`](crate::http::Protocol) in the extensions of such a request. Of no use to a client.
    pub connect_protocol: bool,
    /// Origins that a server serves on its connections (ORIGIN, RFC 8336), as `https://host` or `https://host:port`.
    /// Clients must ignore it over cleartext. What is no origin is left out.
    pub origins: Vec<String>,
    /// Origins that a server says are served elsewhere, too, each with the value of an `alt-svc` field (ALTSVC on stream
    /// 0, RFC 7838 §4). What is no origin is left out.
    pub alt_svc: Vec<(String, HeaderValue)>,
    /// Dynamic table of our decoder (`SETTINGS_HEADER_TABLE_SIZE`).
    pub header_table_size: u32,
    /// Bounds of a received header block; the list's size is announced (`SETTINGS_MAX_HEADER_LIST_SIZE`).
    pub fields: FieldLimits,
    /// CONTINUATION frames of one header block.
    pub continuations: u32,
    /// Entries of one SETTINGS frame.
    pub settings_entries: u32,
    /// PING and SETTINGS acknowledgements that may wait to be written, each.
    pub waiting_acks: u32,
    /// Streams that may die early at once …
    pub reset_burst: u32,
    /// … and in a second, in the long run.
    pub resets_per_second: u32,
    /// Useless frames (empty DATA, PRIORITY) that a peer may send at once …
    pub glitch_burst: u32,
    /// … and in a second, in the long run.
    pub glitches_per_second: u32,
    /// Bytes that may wait to be written before new streams are refused; at twice this much the connection
    /// wants no more input.
    pub output_bytes: usize,
    /// Bytes that one connection may hold (unread content, output, header lists of requests under way) before new
    /// streams are refused; no bound of its own by default, since each of the three has one.
    pub connection_bytes: usize,
    /// Bytes of content that one stream may queue.
    pub stream_queue_bytes: usize,
    /// Bytes that one turn of `poll_transmit` aims at; with 0 no content would ever be sent.
    pub turn_bytes: usize,
    /// Content of a request that is still taken, and thrown away, when the answer is complete and nobody reads it;
    /// a client that sends more is told to stop (RST_STREAM with NO_ERROR, RFC 9113 §8.1).
    pub discard_bytes: u32,
    /// How long that may take at least; at most twice as long.
    pub discard_timeout: Duration,
    /// How long the client's preface and first SETTINGS may take.
    pub preface_timeout: Duration,
    /// How long a header block, or any frame but DATA, may take from its first byte to its last.
    pub header_timeout: Duration,
    /// How long a connection without streams is kept.
    pub idle_timeout: Duration,
    /// How long the peer may take to acknowledge our SETTINGS.
    pub settings_timeout: Duration,
    /// How long output may wait while the socket takes less than `min_body_rate` of it.
    pub send_timeout: Duration,
    /// Bytes a second that the peer must send of content that it announced with `content-length`, or take of
    /// content that waits for its windows; 0 never ends anything. Messages of unknown length may be silent.
    pub min_body_rate: u32,
    /// How long content may come below `min_body_rate`; half as long again before that is noticed.
    pub body_grace: Duration,
    /// How long content may wait for windows that stay closed but for less than `min_body_rate`.
    pub stall_timeout: Duration,
    /// After how long a silence the peer is asked with a PING whether it is there; `None` never asks.
    pub keep_alive_interval: Option<Duration>,
    /// How long it may go on being silent then.
    pub keep_alive_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            stream_window: limits::H2_STREAM_WINDOW,
            connection_window: limits::H2_CONNECTION_WINDOW,
            adaptive_window: true,
            max_stream_window: limits::H2_MAX_STREAM_WINDOW,
            max_connection_window: limits::H2_MAX_CONNECTION_WINDOW,
            max_frame_size: limits::H2_FRAME_BYTES,
            max_concurrent_streams: limits::H2_CONCURRENT_STREAMS,
            connect_protocol: false,
            origins: Vec::new(),
            alt_svc: Vec::new(),
            header_table_size: limits::H2_HEADER_TABLE_BYTES,
            fields: FieldLimits::default(),
            continuations: limits::H2_CONTINUATIONS,
            settings_entries: limits::H2_SETTINGS_ENTRIES,
            waiting_acks: limits::H2_WAITING_ACKS,
            reset_burst: limits::H2_RESET_BURST,
            resets_per_second: limits::H2_RESETS_PER_SECOND,
            glitch_burst: limits::H2_GLITCH_BURST,
            glitches_per_second: limits::H2_GLITCHES_PER_SECOND,
            output_bytes: limits::H2_OUTPUT_BYTES,
            connection_bytes: usize::MAX,
            stream_queue_bytes: limits::H2_STREAM_QUEUE_BYTES,
            turn_bytes: limits::H2_TURN_BYTES,
            discard_bytes: limits::H2_DISCARD_BYTES,
            discard_timeout: limits::H2_DISCARD_TIMEOUT,
            preface_timeout: limits::H2_PREFACE_TIMEOUT,
            header_timeout: limits::H2_HEADER_TIMEOUT,
            idle_timeout: limits::H2_IDLE_TIMEOUT,
            settings_timeout: limits::H2_SETTINGS_TIMEOUT,
            send_timeout: limits::H2_SEND_TIMEOUT,
            min_body_rate: limits::H2_MIN_BODY_RATE,
            body_grace: limits::H2_BODY_GRACE,
            stall_timeout: limits::H2_STALL_TIMEOUT,
            keep_alive_interval: None,
            keep_alive_timeout: limits::H2_KEEP_ALIVE_TIMEOUT,
        }
    }
}
