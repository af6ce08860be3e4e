//! Who is who: what a node says of itself, and what others have said.
//!
//! A peer has an id and data of any kind, and is reached by one address or several. It is learnt from ADVERTISE_PEER, which is
//! answered, and from PEER_DISCOVERED, which is not; it is forgotten when it says DISCONNECT from one of its addresses, when
//! its connections are gone, and when nothing was heard of it for too long.
//!
//! Invariant: an address belongs to one peer, and every peer has one at least.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    fmt, io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    contain::contain,
    limits::{
        MESSAGE_ADVERTISE_EVERY, MESSAGE_HOST_SHARE, MESSAGE_INTRODUCTION_BYTES, MESSAGE_INTRODUCTION_VALUES,
        MESSAGE_PEER_ADDRESSES, MESSAGE_PEER_CONNECTIONS, MESSAGE_PEER_EXPIRY, MESSAGE_PEER_ID_BYTES,
        MESSAGE_PEERS,
    },
    message::host::host_of,
    proto::message::{Kind, Message, Value},
    time,
};

/// What a node says of itself to others, so that they know it.
///
/// On a connection the client says it first, on each that it makes. A node of datagrams says it to its group, again and
/// again.
///
/// # Examples
///
/// ```
/// use wakering::message::{BoxCipher, Builder, Introduction, Layer, Value};
///
/// let cipher = BoxCipher::new(&[7; 32]);
/// let key = Value::Bytes(cipher.public_key().to_vec().into());
/// let data = Value::Map(vec![(Value::Str("pubkey".into()), key)]);
/// let builder = Builder::new().introduce(Introduction::new("a name").data(data).app("chat"));
/// # drop((builder, Layer::new().cipher(cipher)));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "it is for Builder::introduce"]
pub struct Introduction {
    id: Bytes,
    data: Value,
    pub(super) app: Bytes,
    pub(super) every: Duration,
    pub(super) expiry: Duration,
}

impl Introduction {
    /// One of a node that is known by `id`, which no other has; it says nothing else.
    pub fn new(id: impl Into<Bytes>) -> Introduction {
        Introduction {
            id: id.into(),
            data: Value::None,
            app: Bytes::from_static(b"netaio"),
            every: MESSAGE_ADVERTISE_EVERY,
            expiry: MESSAGE_PEER_EXPIRY,
        }
    }

    /// One of a node with an id of 16 random octets, which no other has.
    pub fn random() -> Introduction {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("a system that runs has random numbers");
        Introduction::new(id.to_vec())
    }

    /// What else it says of itself; plugins look for keys in a map.
    ///
    /// With the id it is packed within 4 KiB, and the id has 255 octets at most: else others of ours take no notice of it, and a
    /// server or a node of datagrams is not made. They know more than 256 values by the octets alone that they are packed in.
    pub fn data(mut self, data: Value) -> Introduction {
        self.data = data;
        self
    }

    /// The application that it is for: others are none of its business. `netaio` by default, as in the Python package.
    pub fn app(mut self, app: impl Into<Bytes>) -> Introduction {
        self.app = app.into();
        self
    }

    /// How often a node of datagrams tells its group; every 20 s by default.
    pub fn every(mut self, every: Duration) -> Introduction {
        self.every = every;
        self
    }

    /// How long a peer is known of which nothing is heard, without a connection; 60 s by default.
    pub fn expiry(mut self, expiry: Duration) -> Introduction {
        self.expiry = expiry;
        self
    }

    /// As it stands in messages: the id, and the data packed once more.
    fn message(&self, kind: Kind) -> Message {
        let data = if self.data == Value::None { Bytes::new() } else { self.data.packed().into() };
        let packed = Value::Tuple(vec![Value::Bytes(self.id.clone()), Value::Bytes(data)]).packed();
        Message::new(kind, self.app.clone(), packed)
    }
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PeerRecord {
    /// What it is known by.
    pub id: Bytes,
    /// What else it has said of itself: octets, if it is no packed value, or more than 256 of them.
    pub data: Value,
    /// Where it is; the one that it was heard from last comes first.
    pub addrs: Vec<SocketAddr>,
}

/// What has become known of a peer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// It is there.
    Discovered(PeerRecord),
    /// It says something else of itself than before.
    Changed(PeerRecord),
    /// It is gone: it said so, its connections are, or nothing was heard of it for too long.
    Lost(PeerRecord),
}

pub(super) type Hook = Rc<dyn Fn(PeerEvent)>;

/// The peers of a node.
#[derive(Default)]
pub(super) struct Peers {
    pub(super) own: Option<Introduction>,
    pub(super) hook: RefCell<Option<Hook>>,
    table: RefCell<Table>,
    /// How many connections there are with an address; a node of datagrams has none. A client has one with its server for
    /// each time that it connected, of which the former may not have ended yet.
    connections: RefCell<HashMap<SocketAddr, usize>>,
    /// Addresses that have become nobody's, or somebody else's, until somebody [takes](Peers::take_gone) them.
    gone: RefCell<Vec<SocketAddr>>,
}

#[derive(Default)]
struct Table {
    known: HashMap<Bytes, Known>,
    addresses: HashMap<SocketAddr, Bytes>,
    /// How many are known of a host, where there are any: of that from which they were heard first.
    hosts: HashMap<IpAddr, usize>,
}

struct Known {
    host: IpAddr,
    said: Rc<Value>,
    addrs: Vec<SocketAddr>,
    heard: Instant,
}

impl Known {
    fn record(&self, id: Bytes) -> PeerRecord {
        PeerRecord { id, data: (*self.said).clone(), addrs: self.addrs.clone() }
    }
}

impl Peers {
    /// Whether others take what this node says of itself.
    pub(super) fn check(&self) -> io::Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let (id, all) = (own.id.len(), own.message(Kind::ADVERTISE_PEER).content.len());
        if id <= MESSAGE_PEER_ID_BYTES && all <= MESSAGE_INTRODUCTION_BYTES {
            return Ok(());
        }
        let told = format!(
            "an introduction of {all} octets, {id} of them the id: others take {MESSAGE_INTRODUCTION_BYTES} and \
             {MESSAGE_PEER_ID_BYTES} at most"
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, told))
    }

    /// What this node says of itself, as a message.
    pub(super) fn introduction(&self, kind: Kind) -> Option<Message> {
        self.own.as_ref().map(|own| own.message(kind))
    }

    /// Takes a message about a peer, if it is one; `Some` with what it is to be answered with.
    pub(super) fn take(&self, message: &Message, from: SocketAddr) -> Option<Option<Message>> {
        let own = self.own.as_ref().filter(|own| own.app == message.uri)?;
        let (learns, answers) = match message.kind {
            Kind::ADVERTISE_PEER => (true, true),
            Kind::PEER_DISCOVERED => (true, false),
            Kind::DISCONNECT => (false, false),
            _ => return None,
        };
        let Some((id, said)) = introduced(&message.content) else { return Some(None) };
        if id == own.id {
            // Its own words, which a group sends back.
            return Some(None);
        }
        if !learns {
            if self.table.borrow().addresses.get(&from) == Some(&id) {
                self.say_goodbye(&id, from);
            }
            return Some(None);
        }
        let known = self.learn(id, said, from, time::now());
        Some((known && answers).then(|| own.message(Kind::PEER_DISCOVERED)))
    }

    /// A peer says that it goes: from everywhere, or, on a connection, that this one ends.
    fn say_goodbye(&self, id: &[u8], from: SocketAddr) {
        let connections = self.connections.borrow().get(&from).copied();
        match connections {
            Some(1) => self.forget(from),
            Some(_others) => {}
            None => {
                let record = self.remove(id);
                self.gone.borrow_mut().extend(record.into_iter().flat_map(|record| record.addrs));
            }
        }
    }

    /// Notes who is at an address; false when there are too many to know.
    fn learn(&self, id: Bytes, said: Value, from: SocketAddr, now: Instant) -> bool {
        let mut table = self.table.borrow_mut();
        if !table.known.contains_key(&id) && table.known.len() >= MESSAGE_PEERS {
            // Who has a connection is there as long as that is.
            let has_connections = !self.connections.borrow().is_empty();
            let Some(lost) = (!has_connections).then(|| table.make_room(host_of(from))).flatten() else {
                return false;
            };
            drop(table);
            self.gone.borrow_mut().extend(&lost.addrs);
            self.tell(PeerEvent::Lost(lost));
            return self.learn(id, said, from, now);
        }
        let is_connected = self.connections.borrow().contains_key(&from);
        let most = if is_connected { MESSAGE_PEER_CONNECTIONS } else { MESSAGE_PEER_ADDRESSES };
        let places = table.known.get(&id).map_or(&[][..], |known| &known.addrs);
        if is_connected && places.len() >= most && !places.contains(&from) {
            return false;
        }
        let former = table.addresses.insert(from, id.clone()).filter(|former| *former != id);
        self.gone.borrow_mut().extend(former.as_ref().map(|_| from));
        let lost = former.and_then(|former| table.leave(&former, from));
        let known = table.enter(id.clone(), host_of(from), now);
        let is_new = known.addrs.is_empty();
        let is_other = *known.said != said;
        known.heard = now;
        known.said = Rc::new(said);
        known.addrs.retain(|address| *address != from);
        known.addrs.insert(0, from);
        let surplus: Vec<SocketAddr> = known.addrs.drain(most.min(known.addrs.len())..).collect();
        let record = (is_new || is_other).then(|| known.record(id));
        for address in &surplus {
            table.addresses.remove(address);
        }
        self.gone.borrow_mut().extend(surplus);
        drop(table);
        lost.into_iter().for_each(|record| self.tell(PeerEvent::Lost(record)));
        let event = if is_new { PeerEvent::Discovered } else { PeerEvent::Changed };
        record.into_iter().for_each(|record| self.tell(event(record)));
        true
    }

    /// Whose subscriptions are over, since who was there is not there any more.
    pub(super) fn take_gone(&self) -> Vec<SocketAddr> {
        self.gone.take()
    }

    /// Something was heard from an address.
    pub(super) fn heard(&self, from: SocketAddr) {
        let mut table = self.table.borrow_mut();
        let Table { known, addresses, .. } = &mut *table;
        if let Some(known) = addresses.get(&from).and_then(|id| known.get_mut(id)) {
            known.heard = time::now();
        }
    }

    /// Whether nobody is known; mostly so, and then nothing else need be asked.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.table.borrow().addresses.is_empty()
    }

    /// What the peer at an address has said of itself.
    pub(super) fn said(&self, at: SocketAddr) -> Option<Rc<Value>> {
        let table = self.table.borrow();
        Some(table.known.get(table.addresses.get(&at)?)?.said.clone())
    }

    pub(super) fn at(&self, address: SocketAddr) -> Option<PeerRecord> {
        let table = self.table.borrow();
        let id = table.addresses.get(&address)?;
        Some(table.known.get(id)?.record(id.clone()))
    }

    pub(super) fn get(&self, id: &[u8]) -> Option<PeerRecord> {
        let table = self.table.borrow();
        let (id, known) = table.known.get_key_value(id)?;
        Some(known.record(id.clone()))
    }

    pub(super) fn all(&self) -> Vec<PeerRecord> {
        let table = self.table.borrow();
        table.known.iter().map(|(id, known)| known.record(id.clone())).collect()
    }

    /// Forgets a peer and all its addresses.
    pub(super) fn remove(&self, id: &[u8]) -> Option<PeerRecord> {
        let record = self.table.borrow_mut().remove(id)?;
        self.tell(PeerEvent::Lost(record.clone()));
        Some(record)
    }

    /// There is a connection.
    pub(super) fn enter(&self, address: SocketAddr) {
        if self.own.is_some() {
            *self.connections.borrow_mut().entry(address).or_insert(0) += 1;
        }
    }

    /// A connection is gone, and with the last one who was at its other end.
    pub(super) fn leave(&self, address: SocketAddr) {
        let mut connections = self.connections.borrow_mut();
        let Some(left) = connections.get_mut(&address) else { return };
        *left -= 1;
        if *left == 0 {
            connections.remove(&address);
            drop(connections);
            self.forget(address);
        }
    }

    /// Nobody is at an address any more.
    fn forget(&self, address: SocketAddr) {
        let mut table = self.table.borrow_mut();
        let lost = table.addresses.remove(&address).and_then(|id| table.leave(&id, address));
        drop(table);
        lost.into_iter().for_each(|record| self.tell(PeerEvent::Lost(record)));
    }

    /// Forgets those of whom nothing was heard for too long.
    pub(super) fn expire(&self, now: Instant) -> Vec<PeerRecord> {
        let Some(own) = &self.own else { return Vec::new() };
        let is_old = |known: &Known| now.saturating_duration_since(known.heard) >= own.expiry;
        let mut table = self.table.borrow_mut();
        let old: Vec<Bytes> =
            table.known.iter().filter(|(_, known)| is_old(known)).map(|(id, _)| id.clone()).collect();
        let lost: Vec<PeerRecord> = old.iter().filter_map(|id| table.remove(id)).collect();
        drop(table);
        lost.iter().for_each(|record| self.tell(PeerEvent::Lost(record.clone())));
        lost
    }

    fn tell(&self, event: PeerEvent) {
        let hook = self.hook.borrow().clone();
        if let Some(hook) = hook {
            // Its panic ends nothing, and has been told by the panic hook.
            contain(|| hook(event));
        }
    }
}

impl Table {
    /// The peer of this id, known from now on.
    fn enter(&mut self, id: Bytes, host: IpAddr, now: Instant) -> &mut Known {
        self.known.entry(id).or_insert_with(|| {
            *self.hosts.entry(host).or_insert(0) += 1;
            Known { host, said: Rc::new(Value::None), addrs: Vec::new(), heard: now }
        })
    }

    /// Takes a peer away, of which its addresses may still be known.
    fn take(&mut self, id: &[u8]) -> Option<(Bytes, Known)> {
        let (id, known) = self.known.remove_entry(id)?;
        if let Entry::Occupied(mut of_host) = self.hosts.entry(known.host) {
            *of_host.get_mut() -= 1;
            if *of_host.get() == 0 {
                of_host.remove();
            }
        }
        Some((id, known))
    }

    /// Takes a peer away for one of another host, if that has not got its share: of the host that has the most, when those
    /// are more than its share, the one that was heard from longest ago.
    fn make_room(&mut self, host: IpAddr) -> Option<PeerRecord> {
        const SHARE: usize = MESSAGE_PEERS / MESSAGE_HOST_SHARE;
        if self.hosts.get(&host).is_some_and(|of_host| *of_host >= SHARE) {
            return None;
        }
        let (greedy, _) =
            self.hosts.iter().filter(|(_, of_host)| **of_host > SHARE).max_by_key(|(_, of)| **of)?;
        let theirs = self.known.iter().filter(|(_, known)| known.host == *greedy);
        let (silent, _) = theirs.min_by_key(|(_, known)| known.heard)?;
        let silent = silent.clone();
        self.remove(&silent)
    }

    fn remove(&mut self, id: &[u8]) -> Option<PeerRecord> {
        let (id, known) = self.take(id)?;
        for address in &known.addrs {
            self.addresses.remove(address);
        }
        Some(known.record(id))
    }

    /// Takes an address from a peer, and the peer away if it was its last: it is returned then, with that address.
    fn leave(&mut self, id: &Bytes, address: SocketAddr) -> Option<PeerRecord> {
        let known = self.known.get_mut(id)?;
        if known.addrs.len() > 1 {
            known.addrs.retain(|other| *other != address);
            return None;
        }
        let (id, known) = self.take(id)?;
        Some(known.record(id))
    }
}

/// Who a message introduces, and what it says; `None` when it is no introduction, or one that is longer than may be.
fn introduced(content: &[u8]) -> Option<(Bytes, Value)> {
    if content.len() > MESSAGE_INTRODUCTION_BYTES {
        return None;
    }
    // Copied, since it is kept for long: a slice would keep all that came with it.
    let Value::Tuple(parts) = Value::unpack(&Bytes::copy_from_slice(content)).ok()? else { return None };
    let [id, data] = <[Value; 2]>::try_from(parts).ok()?;
    let id = id.as_bytes().filter(|id| id.len() <= MESSAGE_PEER_ID_BYTES)?;
    let id = Bytes::copy_from_slice(id);
    // The package drops peers whose data are none at all.
    let data = data.as_bytes()?.clone();
    if data.is_empty() {
        return Some((id, Value::None));
    }
    let unpacked = Value::unpack(&data).ok().filter(|value| values(value) <= MESSAGE_INTRODUCTION_VALUES);
    Some((id, unpacked.unwrap_or(Value::Bytes(data))))
}

/// How many values there are in one, itself included.
fn values(value: &Value) -> usize {
    let inside = match value {
        Value::List(items) | Value::Set(items) | Value::Tuple(items) => items.iter().map(values).sum(),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| values(key) + values(value)).sum(),
        Value::None
        | Value::Bool(_)
        | Value::Int(_)
        | Value::BigInt { .. }
        | Value::Float(_)
        | Value::Decimal(_)
        | Value::Str(_)
        | Value::Bytes(_)
        | Value::ByteArray(_)
        | Value::Named { .. } => 0,
    };
    1 + inside
}

impl fmt::Debug for Peers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.table.borrow().known.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> (Peers, Rc<RefCell<Vec<PeerEvent>>>) {
        let told: Rc<RefCell<Vec<PeerEvent>>> = Rc::default();
        let tells = told.clone();
        let hook: Hook = Rc::new(move |event| tells.borrow_mut().push(event));
        (
            Peers { own: Some(Introduction::new("own")), hook: RefCell::new(Some(hook)), ..Peers::default() },
            told,
        )
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn words(id: &'static str, kind: Kind) -> Message {
        Introduction::new(id).message(kind)
    }

    #[test]
    fn an_introduction_is_that_of_the_document() {
        let id: Vec<u8> = (0x10..0x20).collect();
        let plain = Introduction::new(id.clone()).message(Kind::ADVERTISE_PEER);
        let wanted = "0900030021a06ed44c4d400000066e657461696f\
                      4c400212024110101112131415161718191a1b1c1d1e1f4100";
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        assert_eq!(hex(&plain.to_octets().unwrap()), wanted);
        let data = Value::Map(vec![(Value::Str("a".into()), Value::Int(1))]);
        let more = Introduction::new(id.clone()).data(data.clone()).message(Kind::ADVERTISE_PEER);
        let wanted = "4c400212104110101112131415161718191a1b1c1d1e1f410e4d40010a4c400203024301614401";
        assert_eq!(hex(&more.content), wanted);
        assert_eq!(introduced(&more.content), Some((id.into(), data)));
        for other in [&b""[..], b"\x00", b"\x4c\x40\x00", b"\x44\x05"] {
            assert_eq!(introduced(other), None);
        }
    }

    #[test]
    fn a_peer_with_three_addresses_is_removed_with_all_of_them() {
        let (peers, told) = peers();
        for port in 1..=3 {
            let answer = peers.take(&words("a", Kind::ADVERTISE_PEER), address(port)).unwrap().unwrap();
            assert_eq!((answer.kind, &answer.uri[..]), (Kind::PEER_DISCOVERED, &b"netaio"[..]));
        }
        assert_eq!(peers.take(&words("b", Kind::PEER_DISCOVERED), address(4)), Some(None));
        let record = peers.get(b"a").unwrap();
        assert_eq!(record.addrs, [3, 2, 1].map(address));
        // Not from one of its addresses.
        assert_eq!(peers.take(&words("a", Kind::DISCONNECT), address(4)), Some(None));
        assert_eq!(peers.all().len(), 2);
        assert_eq!(peers.take(&words("a", Kind::DISCONNECT), address(2)), Some(None));
        assert!((1..=3).all(|port| peers.at(address(port)).is_none() && peers.said(address(port)).is_none()));
        assert_eq!(peers.table.borrow().addresses.len(), 1);
        assert!(matches!(told.borrow().last(), Some(PeerEvent::Lost(lost)) if *lost == record));
    }

    #[test]
    fn ones_own_words_other_applications_and_nonsense_are_nothing() {
        let (peers, told) = peers();
        assert_eq!(peers.take(&words("own", Kind::ADVERTISE_PEER), address(1)), Some(None));
        let nonsense = Message::new(Kind::ADVERTISE_PEER, "netaio", "nonsense");
        assert_eq!(peers.take(&nonsense, address(1)), Some(None));
        let other = Introduction::new("a").app("other").message(Kind::ADVERTISE_PEER);
        assert_eq!(peers.take(&other, address(1)), None);
        assert_eq!(peers.take(&Message::new(Kind::REQUEST_URI, "netaio", ""), address(1)), None);
        assert!(peers.all().is_empty() && told.borrow().is_empty());
    }

    #[test]
    fn an_address_has_one_peer_and_a_peer_without_any_is_lost() {
        let (peers, told) = peers();
        let _ = peers.take(&words("a", Kind::PEER_DISCOVERED), address(1));
        let _ = peers.take(&words("b", Kind::PEER_DISCOVERED), address(1));
        assert!(peers.get(b"a").is_none() && peers.get(b"b").is_some());
        peers.forget(address(1));
        assert!(peers.all().is_empty() && peers.table.borrow().addresses.is_empty());
        let kinds: Vec<&str> = told
            .borrow()
            .iter()
            .map(|event| match event {
                PeerEvent::Discovered(_) => "discovered",
                PeerEvent::Changed(_) => "changed",
                PeerEvent::Lost(_) => "lost",
            })
            .collect();
        assert_eq!(kinds, ["discovered", "lost", "discovered", "lost"]);
    }

    #[test]
    fn one_host_leaves_room_for_the_peers_of_others_and_keeps_a_share_of_its_own() {
        let (peers, told) = peers();
        let began = Instant::now();
        let learn = |host: u8, number: usize, seconds: u64| {
            let address = SocketAddr::from(([127, 0, 0, host], u16::try_from(number).unwrap() + 1));
            let id = Bytes::from(format!("{host} {number}"));
            peers.learn(id, Value::None, address, began + Duration::from_secs(seconds))
        };
        assert!((0..MESSAGE_PEERS).all(|number| learn(1, number, u64::from(number != 7))));
        assert!(learn(1, 5, 2) && !learn(1, MESSAGE_PEERS, 2), "it has what there is");
        for host in 2..8 {
            assert!((0..MESSAGE_PEERS / MESSAGE_HOST_SHARE).all(|number| learn(host, number, 2)), "{host}");
            assert!(!learn(host, MESSAGE_PEERS, 2), "{host} has its share");
        }
        let lost = told.borrow().iter().find_map(|event| match event {
            PeerEvent::Lost(record) => Some(record.id.clone()),
            PeerEvent::Discovered(_) | PeerEvent::Changed(_) => None,
        });
        assert_eq!(lost.as_deref(), Some(&b"1 7"[..]), "that was heard from longest ago");
        let share =
            |host: &str| peers.all().iter().filter(|peer| peer.id.starts_with(host.as_bytes())).count();
        assert_eq!((peers.all().len(), share("1 ")), (MESSAGE_PEERS, MESSAGE_PEERS / 4));
        assert!((0..MESSAGE_PEERS / MESSAGE_HOST_SHARE).all(|number| learn(8, number, 2)));
        assert!(!learn(9, 1, 2), "all have their share");
        assert_eq!(peers.take_gone().len(), MESSAGE_PEERS * 7 / 8);
        let table = peers.table.borrow();
        assert_eq!((table.hosts.len(), table.hosts.values().sum::<usize>()), (8, MESSAGE_PEERS));
    }

    #[test]
    fn peers_expire_and_are_bounded_in_number_and_addresses() {
        let (peers, _) = peers();
        let began = Instant::now();
        for number in 0..=MESSAGE_PEERS {
            let id = Bytes::from(number.to_string());
            let port = u16::try_from(number).unwrap() + 1;
            assert_eq!(peers.learn(id, Value::None, address(port), began), number < MESSAGE_PEERS);
        }
        for port in 1..100 {
            assert!(peers.learn("0".into(), Value::None, address(20_000 + port), began));
        }
        assert_eq!(peers.get(b"0").unwrap().addrs.len(), MESSAGE_PEER_ADDRESSES);
        assert!(peers.expire(began + MESSAGE_PEER_EXPIRY / 2).is_empty());
        assert!(peers.learn("1".into(), Value::None, address(2), began + MESSAGE_PEER_EXPIRY / 2));
        assert_eq!(peers.expire(began + MESSAGE_PEER_EXPIRY).len(), MESSAGE_PEERS - 1);
        assert_eq!(peers.all().len(), 1);
        assert_eq!(peers.table.borrow().addresses.len(), 1);
    }

    #[test]
    fn a_peer_that_ends_one_of_its_connections_is_known_by_the_others() {
        let (peers, told) = peers();
        for port in 1..=20 {
            peers.enter(address(port));
            assert!(peers.take(&words("a", Kind::ADVERTISE_PEER), address(port)).unwrap().is_some());
        }
        // A second one with the same address.
        peers.enter(address(1));
        assert_eq!(peers.get(b"a").unwrap().addrs.len(), 20);
        let _ = peers.take(&words("a", Kind::DISCONNECT), address(1));
        peers.leave(address(1));
        let _ = peers.take(&words("a", Kind::DISCONNECT), address(2));
        assert!(peers.said(address(1)).is_some() && peers.said(address(2)).is_none());
        assert_eq!((peers.get(b"a").unwrap().addrs.len(), told.borrow().len()), (19, 1));
        for port in 1..=20 {
            peers.leave(address(port));
        }
        assert!(peers.all().is_empty() && peers.connections.borrow().is_empty());
        assert_eq!(told.borrow().len(), 2);
    }

    #[test]
    fn a_peer_has_so_many_connections_and_those_that_are_known_stay() {
        let (peers, _) = peers();
        for number in 0..=MESSAGE_PEER_CONNECTIONS {
            let from = address(u16::try_from(number).unwrap());
            peers.enter(from);
            let answer = peers.take(&words("a", Kind::ADVERTISE_PEER), from).unwrap();
            assert_eq!(answer.is_some(), number < MESSAGE_PEER_CONNECTIONS);
        }
        assert!(peers.said(address(0)).is_some());
    }
}
