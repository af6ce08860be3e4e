//! What a message is: its type.

use std::fmt;

/// The type of a message, the first octet of its frame.
///
/// Types 0 to 30 are the protocol's own, most of them unassigned; 31 to 255 are free for applications.
///
/// # Examples
///
/// ```
/// # use wakering::internals::message::Kind;
/// assert_eq!(Kind::NOT_FOUND.to_string(), "NOT_FOUND");
/// assert!(Kind::NOT_FOUND.is_error() && Kind::custom(31).is_some() && Kind::custom(30).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(u8);

impl Kind {
    /// Reads a resource; answered by `RESPOND_URI` or `NOT_FOUND`.
    pub const REQUEST_URI: Kind = Kind(0);
    /// A resource, as an answer.
    pub const RESPOND_URI: Kind = Kind(1);
    /// Makes a resource; answered by `OK`.
    pub const CREATE_URI: Kind = Kind(2);
    /// Changes one; answered by `OK`.
    pub const UPDATE_URI: Kind = Kind(3);
    /// Removes one; answered by `OK`.
    pub const DELETE_URI: Kind = Kind(4);
    /// Asks for notifications; answered by `CONFIRM_SUBSCRIBE`.
    pub const SUBSCRIBE_URI: Kind = Kind(5);
    /// Asks for no more of them; answered by `CONFIRM_UNSUBSCRIBE`.
    pub const UNSUBSCRIBE_URI: Kind = Kind(6);
    /// Something to tell all who have subscribed; answered by `OK`.
    pub const PUBLISH_URI: Kind = Kind(7);
    /// What was published, to one who has subscribed.
    pub const NOTIFY_URI: Kind = Kind(8);
    /// A peer says that it is there.
    pub const ADVERTISE_PEER: Kind = Kind(9);
    /// It is done.
    pub const OK: Kind = Kind(10);
    /// Notifications will come.
    pub const CONFIRM_SUBSCRIBE: Kind = Kind(11);
    /// No more of them will.
    pub const CONFIRM_UNSUBSCRIBE: Kind = Kind(12);
    /// A peer has heard of another, and says who it is.
    pub const PEER_DISCOVERED: Kind = Kind(13);
    /// Something went wrong.
    pub const ERROR: Kind = Kind(20);
    /// The sender could not be authenticated.
    pub const AUTH_ERROR: Kind = Kind(23);
    /// There is no such resource.
    pub const NOT_FOUND: Kind = Kind(24);
    /// The sender may not do that.
    pub const NOT_PERMITTED: Kind = Kind(25);
    /// A peer says that it goes.
    pub const DISCONNECT: Kind = Kind(30);
}

impl Kind {
    /// The first number that is free for applications.
    pub const CUSTOM: u8 = 31;

    /// A type of the application's own, 31 to 255.
    pub const fn custom(number: u8) -> Option<Kind> {
        if number >= Kind::CUSTOM { Some(Kind(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether it says that something went wrong.
    pub fn is_error(self) -> bool {
        matches!(self, Kind::ERROR | Kind::AUTH_ERROR | Kind::NOT_FOUND | Kind::NOT_PERMITTED)
    }

    /// Whether it is an answer, or news that ask for none. Who answers these without being told so begins an exchange
    /// that never ends.
    pub fn ends_an_exchange(self) -> bool {
        let confirms = matches!(self, Kind::OK | Kind::CONFIRM_SUBSCRIBE | Kind::CONFIRM_UNSUBSCRIBE);
        let tells = matches!(self, Kind::NOTIFY_URI | Kind::PEER_DISCOVERED | Kind::DISCONNECT);
        self == Kind::RESPOND_URI || confirms || tells || self.is_error()
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Kind::REQUEST_URI => Some("REQUEST_URI"),
            Kind::RESPOND_URI => Some("RESPOND_URI"),
            Kind::CREATE_URI => Some("CREATE_URI"),
            Kind::UPDATE_URI => Some("UPDATE_URI"),
            Kind::DELETE_URI => Some("DELETE_URI"),
            Kind::SUBSCRIBE_URI => Some("SUBSCRIBE_URI"),
            Kind::UNSUBSCRIBE_URI => Some("UNSUBSCRIBE_URI"),
            Kind::PUBLISH_URI => Some("PUBLISH_URI"),
            Kind::NOTIFY_URI => Some("NOTIFY_URI"),
            Kind::ADVERTISE_PEER => Some("ADVERTISE_PEER"),
            Kind::OK => Some("OK"),
            Kind::CONFIRM_SUBSCRIBE => Some("CONFIRM_SUBSCRIBE"),
            Kind::CONFIRM_UNSUBSCRIBE => Some("CONFIRM_UNSUBSCRIBE"),
            Kind::PEER_DISCOVERED => Some("PEER_DISCOVERED"),
            Kind::ERROR => Some("ERROR"),
            Kind::AUTH_ERROR => Some("AUTH_ERROR"),
            Kind::NOT_FOUND => Some("NOT_FOUND"),
            Kind::NOT_PERMITTED => Some("NOT_PERMITTED"),
            Kind::DISCONNECT => Some("DISCONNECT"),
            Kind(_) => None,
        }
    }
}

/// The types that are understood: the protocol's own, and those that an application has added.
///
/// A peer that speaks something else is found out by its first octet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    custom: [u64; 4],
}

impl Kinds {
    /// The protocol's own.
    pub const fn new() -> Kinds {
        Kinds { custom: [0; 4] }
    }

    /// These and one of the application's.
    #[must_use]
    pub const fn with(mut self, kind: Kind) -> Kinds {
        self.custom[kind.0 as usize / 64] |= 1 << (kind.0 % 64);
        self
    }

    /// The type with this number, if it is understood.
    pub fn get(&self, number: u8) -> Option<Kind> {
        let kind = Kind(number);
        let custom = self.custom[usize::from(number) / 64] >> (number % 64) & 1 == 1;
        (custom || kind.name().is_some()).then_some(kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => out.write_str(name),
            None => write!(out, "type {}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
