//! The bounds that a peer can run into, each by its name.
//!
//! A violation of the protocol has a code of its own; running into a bound of ours has one of these besides, so that a
//! log, a metric or a test can tell a flood of resets from a slow header block, which may leave with the same code.

use super::error::Reason;
use super::hpack::Excess;

/// A bound or deadline that a peer ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trip {
    /// Too many streams died before they were complete, whoever reset them: ends the connection.
    ResetFlood,
    /// Too many frames that do nothing (empty DATA, PRIORITY, interim responses): ends the connection.
    GlitchFlood,
    /// Too many CONTINUATION frames in one header block: ends the connection.
    ContinuationFlood,
    /// A header block too long while it was still encoded: ends the connection.
    HeaderBlock,
    /// A decoded header list too large: ends the stream, a request with 431.
    HeaderList,
    /// Too many fields in a header list: ends the stream, a request with 431.
    HeaderFields,
    /// Too many cookie crumbs in a header list: ends the stream, a request with 431.
    CookieCrumbs,
    /// Too many PINGs whose answers are not read: ends the connection.
    PingFlood,
    /// Too many SETTINGS whose acknowledgements are not read: ends the connection.
    SettingsFlood,
    /// Too many entries in one SETTINGS frame: ends the connection.
    SettingsEntries,
    /// More streams at a time than allowed: the stream is refused.
    Concurrency,
    /// Too much output waits for a peer that does not read: the stream is refused.
    OutputQueue,
    /// The connection holds too much memory: the stream is refused.
    ConnectionBytes,
    /// The application sheds load: the stream is refused, or answered with 503.
    Shed,
    /// No preface or no first SETTINGS in time: ends the connection.
    PrefaceTimeout,
    /// A frame or header block did not end in time: ends the connection.
    HeaderTimeout,
    /// SETTINGS were not acknowledged in time: ends the connection.
    SettingsTimeout,
    /// No stream for too long: ends the connection.
    IdleTimeout,
    /// A PING that asked whether the peer is there did not come back: ends the connection.
    KeepAlive,
    /// The socket took no output for too long: ends the connection.
    SendStall,
    /// A stream's content waited too long for the peer's window: ends the stream.
    StreamStall,
    /// Content came more slowly than is allowed: ends the stream.
    BodyRate,
}

impl Trip {
    /// All of them.
    pub const ALL: [Trip; 22] = [
        Trip::ResetFlood,
        Trip::GlitchFlood,
        Trip::ContinuationFlood,
        Trip::HeaderBlock,
        Trip::HeaderList,
        Trip::HeaderFields,
        Trip::CookieCrumbs,
        Trip::PingFlood,
        Trip::SettingsFlood,
        Trip::SettingsEntries,
        Trip::Concurrency,
        Trip::OutputQueue,
        Trip::ConnectionBytes,
        Trip::Shed,
        Trip::PrefaceTimeout,
        Trip::HeaderTimeout,
        Trip::SettingsTimeout,
        Trip::IdleTimeout,
        Trip::KeepAlive,
        Trip::SendStall,
        Trip::StreamStall,
        Trip::BodyRate,
    ];

    /// How many there are.
    pub(super) const COUNT: usize = Trip::ALL.len();

    /// The name as metrics have it: lower case, with underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Trip::ResetFlood => "reset_flood",
            Trip::GlitchFlood => "glitch_flood",
            Trip::ContinuationFlood => "continuation_flood",
            Trip::HeaderBlock => "header_block",
            Trip::HeaderList => "header_list",
            Trip::HeaderFields => "header_fields",
            Trip::CookieCrumbs => "cookie_crumbs",
            Trip::PingFlood => "ping_flood",
            Trip::SettingsFlood => "settings_flood",
            Trip::SettingsEntries => "settings_entries",
            Trip::Concurrency => "concurrency",
            Trip::OutputQueue => "output_queue",
            Trip::ConnectionBytes => "connection_bytes",
            Trip::Shed => "shed",
            Trip::PrefaceTimeout => "preface_timeout",
            Trip::HeaderTimeout => "header_timeout",
            Trip::SettingsTimeout => "settings_timeout",
            Trip::IdleTimeout => "idle_timeout",
            Trip::KeepAlive => "keep_alive",
            Trip::SendStall => "send_stall",
            Trip::StreamStall => "stream_stall",
            Trip::BodyRate => "body_rate",
        }
    }

    /// What happened, in a few words: it stands in the debug data of a GOAWAY.
    pub const fn text(self) -> &'static str {
        match self {
            Trip::ResetFlood => "too many streams died early",
            Trip::GlitchFlood => "too many useless frames",
            Trip::ContinuationFlood => "too many CONTINUATION frames",
            Trip::HeaderBlock => "encoded header block too long",
            Trip::HeaderList => "header list too large",
            Trip::HeaderFields => "too many fields",
            Trip::CookieCrumbs => "too many cookie crumbs",
            Trip::PingFlood => "PING flood",
            Trip::SettingsFlood => "SETTINGS flood",
            Trip::SettingsEntries => "too many SETTINGS entries",
            Trip::Concurrency => "too many streams at a time",
            Trip::OutputQueue => "too much output waits for the peer",
            Trip::ConnectionBytes => "the connection holds too much memory",
            Trip::Shed => "load is shed",
            Trip::PrefaceTimeout => "timeout: no preface or no SETTINGS",
            Trip::HeaderTimeout => "timeout: a frame or header block does not end",
            Trip::SettingsTimeout => "timeout: SETTINGS not acknowledged",
            Trip::IdleTimeout => "timeout: idle",
            Trip::KeepAlive => "timeout: PING not answered",
            Trip::SendStall => "timeout: the peer does not read",
            Trip::StreamStall => "timeout: the peer's window stays closed",
            Trip::BodyRate => "timeout: content comes too slowly",
        }
    }

    /// The code that goes on the wire.
    pub const fn reason(self) -> Reason {
        match self {
            Trip::ResetFlood
            | Trip::GlitchFlood
            | Trip::ContinuationFlood
            | Trip::HeaderBlock
            | Trip::HeaderList
            | Trip::HeaderFields
            | Trip::CookieCrumbs
            | Trip::PingFlood
            | Trip::SettingsFlood
            | Trip::SettingsEntries
            | Trip::StreamStall
            | Trip::BodyRate => Reason::ENHANCE_YOUR_CALM,
            Trip::Concurrency | Trip::OutputQueue | Trip::ConnectionBytes | Trip::Shed => {
                Reason::REFUSED_STREAM
            }
            Trip::SettingsTimeout => Reason::SETTINGS_TIMEOUT,
            Trip::PrefaceTimeout
            | Trip::HeaderTimeout
            | Trip::IdleTimeout
            | Trip::KeepAlive
            | Trip::SendStall => Reason::NO_ERROR,
        }
    }

    /// Whether it is a deadline that passed.
    pub const fn is_timeout(self) -> bool {
        match self {
            Trip::PrefaceTimeout
            | Trip::HeaderTimeout
            | Trip::SettingsTimeout
            | Trip::IdleTimeout
            | Trip::KeepAlive
            | Trip::SendStall
            | Trip::StreamStall
            | Trip::BodyRate => true,
            Trip::ResetFlood
            | Trip::GlitchFlood
            | Trip::ContinuationFlood
            | Trip::HeaderBlock
            | Trip::HeaderList
            | Trip::HeaderFields
            | Trip::CookieCrumbs
            | Trip::PingFlood
            | Trip::SettingsFlood
            | Trip::SettingsEntries
            | Trip::Concurrency
            | Trip::OutputQueue
            | Trip::ConnectionBytes
            | Trip::Shed => false,
        }
    }
}

impl From<Excess> for Trip {
    fn from(excess: Excess) -> Trip {
        match excess {
            Excess::Fields => Trip::HeaderFields,
            Excess::CookieCrumbs => Trip::CookieCrumbs,
            Excess::ListBytes => Trip::HeaderList,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trip_stands_at_its_own_place_and_has_its_own_name_and_text() {
        for (place, trip) in Trip::ALL.into_iter().enumerate() {
            assert_eq!(trip as usize, place);
            for other in &Trip::ALL[..place] {
                assert_ne!(other.name(), trip.name());
                assert_ne!(other.text(), trip.text());
            }
            assert_eq!(trip.is_timeout(), trip.text().starts_with("timeout: "));
        }
    }
}
