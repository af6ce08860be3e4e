//! Priorities (RFC 9218): what a client says about the order of its responses, and when.
//!
//! A signal is the value of a `priority` field or of a PRIORITY_UPDATE frame: a dictionary of Structured Fields (RFC 9651)
//! of which two members concern us, `u` (urgency, 0 to 7, 3 unless said) and `i` (incremental: its parts are of use as they
//! come). Whatever else stands there is skipped by the grammar; a value that breaks the grammar is no signal.
//!
//! A stream of which nothing was said has urgency 3 and takes turns with its like. The RFC's default would serve them one
//! after the other, which suits a browser, and a browser says so; whoever says nothing may be a gateway or a gRPC channel,
//! where one endless download must not hold up everybody behind it.

use std::fmt;

use super::connection::{Connection, Found, Phase, Role};
use super::error::{CommandError, Fault};
use super::frame::{Head, Kind, MAX_STREAM_ID, u32_at};
use super::ready::Ready;
use super::stream::{Receiving, StreamKey};

/// Urgency of whoever does not say (RFC 9218 §4.1).
const USUAL: u8 = 3;
/// The least urgent.
const LEAST: u8 = 7;
/// Marks an incremental one.
const INCREMENTAL: u8 = 8;

/// How urgent a response is, and whether parts of it are of use (RFC 9218 §4).
///
/// # Examples
///
/// ```
/// use wakering::http::Priority;
///
/// let background = Priority::new(6, true);
/// assert_eq!(background.to_string(), "u=6, i");
/// assert_eq!(Priority::parse(b"i, u=6"), Some(background));
/// assert_eq!(Priority::parse(b"u=6;"), None, "not a Structured Field");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Of a stream of which nothing was said: urgency 3, in turn.
    pub(super) const UNSAID: Priority = Priority(USUAL | INCREMENTAL);

    /// One of `urgency` 0 (first) to 7 (last; so is anything above).
    #[must_use]
    pub const fn new(urgency: u8, incremental: bool) -> Priority {
        let urgency = if urgency > LEAST { LEAST } else { urgency };
        Priority(urgency | if incremental { INCREMENTAL } else { 0 })
    }

    /// Reads a field's value; `None` when it is malformed. What it does not mention has the RFC's default.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Priority> {
        Signal::parse(value).map(|signal| signal.over(Priority::default()))
    }

    /// 0 to 7, the most urgent first.
    #[must_use]
    pub const fn urgency(self) -> u8 {
        self.0 & LEAST
    }

    /// Whether parts of the response are of use before its end.
    #[must_use]
    pub const fn is_incremental(self) -> bool {
        self.0 & INCREMENTAL != 0
    }
}

impl Default for Priority {
    /// Urgency 3, not incremental.
    fn default() -> Priority {
        Priority::new(USUAL, false)
    }
}

impl fmt::Display for Priority {
    /// As a field's value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let incremental = if self.is_incremental() { ", i" } else { "" };
        write!(f, "u={}{incremental}", self.urgency())
    }
}

impl fmt::Debug for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a value said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signal {
    urgency: Option<u8>,
    incremental: Option<bool>,
}

impl Signal {
    /// Reads a dictionary; `None` when it breaks the grammar. Members out of range or of another type say nothing
    /// (RFC 9218 §4).
    pub(super) fn parse(value: &[u8]) -> Option<Signal> {
        let mut signal = Signal::default();
        let mut text = Text(value);
        text.skip(b" ");
        while !text.0.is_empty() {
            let key = text.key()?;
            let item = if text.eat(b'=') { text.item_or_list()? } else { Item::Boolean(true) };
            text.parameters()?;
            // The last of several members of one name is the one that counts.
            match (key, item) {
                (b"u", Item::Integer(n)) => {
                    signal.urgency = u8::try_from(n).ok().filter(|&urgency| urgency <= LEAST);
                }
                (b"u", Item::Boolean(_) | Item::Other) => signal.urgency = None,
                (b"i", Item::Boolean(said)) => signal.incremental = Some(said),
                (b"i", Item::Integer(_) | Item::Other) => signal.incremental = None,
                _ => {}
            }
            text.skip(b" \t");
            if text.0.is_empty() {
                break;
            }
            // A comma at the end is a fault (RFC 9651 §4.2.2).
            if !text.eat(b',') || text.skip(b" \t").0.is_empty() {
                return None;
            }
        }
        Some(signal)
    }

    /// Changes what it mentions (RFC 9218 §8).
    pub(super) fn over(self, before: Priority) -> Priority {
        let urgency = self.urgency.unwrap_or(before.urgency());
        Priority::new(urgency, self.incremental.unwrap_or(before.is_incremental()))
    }
}

/// A member's value, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Integer(i64),
    Boolean(bool),
    Other,
}

/// What is left of a value.
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    fn eat(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.0 = &self.0[1..];
        }
        there
    }

    fn skip(&mut self, bytes: &[u8]) -> &mut Self {
        self.take_while(|byte| bytes.contains(&byte));
        self
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self.0.iter().take_while(|byte| fits(**byte)).count();
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken
    }

    /// `lcalpha` or `*`, then also digits, `_`, `-`, `.` (RFC 9651 §3.1.2).
    fn key(&mut self) -> Option<&'a [u8]> {
        if !matches!(self.0.first(), Some(b'a'..=b'z' | b'*')) {
            return None;
        }
        Some(self.take_while(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
    }

    fn item_or_list(&mut self) -> Option<Item> {
        if !self.eat(b'(') {
            return self.item();
        }
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return Some(Item::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        match *self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'?' => self.boolean(),
            b'"' => self.string(),
            b':' => self.bytes(),
            b'@' => {
                self.eat(b'@');
                matches!(self.number()?, Item::Integer(_)).then_some(Item::Other)
            }
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
                Some(Item::Other)
            }
            _ => None,
        }
    }

    /// At most 15 digits, or 12 before and 3 behind a point.
    fn number(&mut self) -> Option<Item> {
        let negative = self.eat(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.eat(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit()).len();
            return (digits.len() <= 12 && (1..=3).contains(&fraction)).then_some(Item::Other);
        }
        let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        Some(Item::Integer(if negative { -value } else { value }))
    }

    fn boolean(&mut self) -> Option<Item> {
        self.eat(b'?');
        match (self.eat(b'0'), self.eat(b'1')) {
            (true, false) => Some(Item::Boolean(false)),
            (false, true) => Some(Item::Boolean(true)),
            (true, true) | (false, false) => None,
        }
    }

    fn string(&mut self) -> Option<Item> {
        self.eat(b'"');
        loop {
            self.take_while(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
            if self.eat(b'"') {
                return Some(Item::Other);
            }
            if !self.eat(b'\\') || !(self.eat(b'"') || self.eat(b'\\')) {
                return None;
            }
        }
    }

    fn bytes(&mut self) -> Option<Item> {
        self.eat(b':');
        self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
        self.eat(b':').then_some(Item::Other)
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip(b" ");
            self.key()?;
            if self.eat(b'=') {
                self.item()?;
            }
        }
        Some(())
    }
}

impl Connection {
    /// Says how urgent a stream's response is. A client sends PRIORITY_UPDATE, unless the server's SETTINGS did not say that
    /// it has use for it (RFC 9218 §2.1.1), and orders its own content by it; a server only reorders its responses.
    ///
    /// # Errors
    ///
    /// [`CommandError`] when the stream or the connection is gone.
    pub fn prioritize(&mut self, stream: StreamKey, priority: Priority) -> Result<(), CommandError> {
        let target = self.streams.get(stream).ok_or(CommandError::StreamGone)?;
        if target.is_closed() {
            return Err(CommandError::StreamGone);
        }
        let heard = self.phase == Phase::FirstSettings || self.peer.no_rfc7540_priorities;
        // Only of a response that still comes (§7.1).
        if self.role == Role::Client && heard && target.receiving != Receiving::Ended {
            let mut payload = target.id.to_be_bytes().to_vec();
            payload.extend_from_slice(priority.to_string().as_bytes());
            self.write_frame(Kind::PriorityUpdate, 0, 0, &payload);
        }
        self.reprioritize(stream, priority);
        Ok(())
    }

    /// Takes what the fields of a message of ours say of its stream (RFC 9218 §8).
    #[inline]
    pub(super) fn obey(&mut self, key: StreamKey, said: Option<Signal>) {
        let Some(said) = said else { return };
        if let Some(stream) = self.streams.get(key) {
            self.reprioritize(key, said.over(stream.priority));
        }
    }

    /// Moves a stream to its new place among those that wait.
    pub(super) fn reprioritize(&mut self, key: StreamKey, priority: Priority) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let before = std::mem::replace(&mut stream.priority, priority);
        if stream.scheduled && before != priority {
            let id = stream.id;
            self.ready.remove(key, id, before);
            self.ready.push(key, id, priority);
        }
    }

    /// A client changes its mind, or knows before it asks (RFC 9218 §7.1).
    #[cold]
    pub(super) fn on_priority_update(&mut self, head: Head, payload: &[u8]) -> Found {
        if self.role == Role::Client {
            return Err(Fault::protocol("a server sent PRIORITY_UPDATE"));
        }
        if head.stream != 0 {
            return Err(Fault::protocol("PRIORITY_UPDATE on a stream"));
        }
        let (Some(word), Some(value)) = (u32_at(payload, 0), payload.get(4..)) else {
            return Err(Fault::size("PRIORITY_UPDATE is shorter than 4 bytes"));
        };
        let id = word & MAX_STREAM_ID;
        if id == 0 {
            return Err(Fault::protocol("PRIORITY_UPDATE for stream 0"));
        }
        if id % 2 == 0 {
            // We never push, so every stream of ours is idle.
            return Err(Fault::protocol("PRIORITY_UPDATE for a pushed stream that is idle"));
        }
        self.charge_glitch()?;
        let Some(priority) = Priority::parse(value) else { return Ok(()) };
        if self.is_idle_id(id) {
            return self.note_early(id, priority);
        }
        if let Some(key) = self.streams.find(id) {
            self.reprioritize(key, priority);
        }
        Ok(())
    }

    /// Keeps what was said of a stream that is not open yet. Together with the open ones there may not be more than our
    /// limit of streams, so this is bounded.
    fn note_early(&mut self, id: u32, priority: Priority) -> Found {
        let most = self.config.max_concurrent_streams as usize;
        let early = self.ready.early(id);
        if early + self.streams.len() as usize >= most {
            // Streams whose handlers still run are closed for the peer.
            let open = self.streams.iter_mut().filter(|(_, stream)| !stream.is_closed()).count();
            if early + open >= most {
                // Before it has seen our SETTINGS a client knows of no limit.
                let knows = self.phase == Phase::Open && !self.timers.awaits_settings_ack();
                let fault = Fault::protocol("PRIORITY_UPDATE for more streams than may be open");
                return if knows { Err(fault) } else { Ok(()) };
            }
        }
        self.ready.note_early(id, priority);
        Ok(())
    }
}

/// The priority that a stream begins with: what PRIORITY_UPDATE said before counts more than the field.
#[inline]
pub(super) fn of_new(ready: &mut Ready, id: u32, said: Option<Priority>) -> Priority {
    ready.take_early(id).or(said).unwrap_or(Priority::UNSAID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(u8, bool)> {
        Priority::parse(text.as_bytes()).map(|it| (it.urgency(), it.is_incremental()))
    }

    /// RFC 9218 §4: two members; what is out of range, of another type or unknown says nothing.
    #[test]
    fn the_two_members_are_read_and_everything_else_is_skipped_by_the_grammar() {
        let cases = [
            ("", (3, false)),
            ("u=0", (0, false)),
            ("u=7,i", (7, true)),
            ("i, u=5", (5, true)),
            ("  u=1 \t,\t i=?1  ", (1, true)),
            ("i=?0", (3, false)),
            ("u=8, i", (3, true)),
            ("u=-1", (3, false)),
            ("u=2.0", (3, false)),
            ("u=\"2\"", (3, false)),
            ("u, i=1", (3, false)),
            ("i=(1 2), u=4", (4, false)),
            ("u=2;foo;bar=\"a,b\", x=(\"u=1\" tok;q=1.5);p, y=:dT0w:, z=@17, i;a", (2, true)),
            ("foo=\"u=1, \\\"i\", u=6", (6, false)),
            ("u=1, u=2", (2, false)),
            ("u=1, u=9", (3, false)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Some(expected), "{text:?}");
        }
    }

    /// RFC 9651 §4.2: a value that breaks the grammar anywhere is ignored as a whole.
    #[test]
    fn a_malformed_value_is_no_signal() {
        for text in [
            "u=",
            "u=1,",
            "u=1,,i",
            "u=1 i",
            "U=1",
            "=1",
            "u=1;",
            "u=\"1",
            "u=(1",
            "u=(1;)",
            "u=?2",
            "u=?01",
            "u=:a",
            "u=1.2345",
            "u=1234567890123456",
            "u=@1.5",
            "\tu=1",
            "u=1\u{7f}",
            "u=\"\\a\"",
            "u=1, é",
            "u=(1\"a\")",
            "u=-",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for urgency in 0..=7 {
            for incremental in [false, true] {
                let priority = Priority::new(urgency, incremental);
                assert_eq!(Priority::parse(priority.to_string().as_bytes()), Some(priority));
            }
        }
        assert_eq!(Priority::new(200, false).urgency(), 7);
    }

    /// RFC 9218 §8: what the server says replaces what it mentions, and nothing else.
    #[test]
    fn a_partial_signal_changes_only_what_it_mentions() {
        let before = Priority::new(5, true);
        assert_eq!(Signal::parse(b"u=1").map(|it| it.over(before)), Some(Priority::new(1, true)));
        assert_eq!(Signal::parse(b"i=?0").map(|it| it.over(before)), Some(Priority::new(5, false)));
    }
}
