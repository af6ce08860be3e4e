//! A client core and a server core with a wire between them, both honest: any commands in any order, the bytes in
//! any pieces. What is sent arrives, whole and in order; nobody is accused of anything; and in the end nothing is left.

mod model;

use std::collections::BTreeMap;
use std::io::IoSlice;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use wakering::internals::h2::{
    CommandError, Config, Connection, ConnectionError, Event, Priority, Protocol, Reason, Role, StreamKey,
};
use wakering::internals::hpack::FieldLimits;

use model::{End, Exchange, Message, content, fields, is_through, octet, saw_end};

use super::tape::Tape;
use super::watch::{Watch, trace};

const MILLISECOND: u64 = 1_000_000;
/// No deadline is shorter than this.
const TIME_LIMIT: u64 = 4_000 * MILLISECOND;
/// Exchanges of one run.
const EXCHANGES: usize = 40;

pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut world = World::new(&mut tape);
    while !tape.is_empty() {
        world.step(&mut tape);
    }
    world.settle();
    world.part();
}

fn config(tape: &mut Tape<'_>) -> Config {
    Config {
        stream_window: tape.pick(&[65_535, 65_536, 1_000, 1, 70_000, 1 << 20]),
        connection_window: tape.pick(&[1 << 20, 65_535, 65_536, 200_000]),
        max_frame_size: tape.pick(&[16_384, 20_000, 1 << 20]),
        max_concurrent_streams: tape.pick(&[256, 1, 3]),
        header_table_size: tape.pick(&[4_096, 0, 100, 65_536]),
        fields: FieldLimits { fields: 200, cookie_crumbs: 20, list_bytes: 1 << 17, block_bytes: 1 << 17 },
        continuations: 8,
        reset_burst: 1 << 20,
        glitch_burst: 1 << 20,
        output_bytes: tape.pick(&[256 * 1024, 8 * 1024]),
        stream_queue_bytes: tape.pick(&[64 * 1024, 1_000, 4]),
        turn_bytes: tape.pick(&[128 * 1024, 1_000]),
        discard_bytes: tape.pick(&[64 * 1024, 0, 1_000]),
        connect_protocol: true,
        adaptive_window: tape.one_in(2),
        ..Config::default()
    }
}

/// One end of the connection and the bytes that are on their way to it.
struct Side {
    role: Role,
    core: Connection,
    watch: Watch,
    inbox: Vec<u8>,
    inbox_at: usize,
    closed: bool,
    end_told: bool,
    pings: usize,
}

impl Side {
    fn new(role: Role, core: Connection) -> Side {
        let watch = Watch::new(role);
        let inbox = Vec::new();
        Side { role, core, watch, inbox, inbox_at: 0, closed: false, end_told: false, pings: 0 }
    }

    fn in_flight(&self) -> usize {
        self.inbox.len() - self.inbox_at
    }
}

struct World {
    sides: [Side; 2],
    /// Content of one message, by its sender: a run should not go through thousands of windows.
    most: [usize; 2],
    exchanges: BTreeMap<u32, Exchange>,
    now: u64,
    /// Somebody goes away.
    leaving: bool,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

fn side_of(role: Role) -> usize {
    match role {
        Role::Client => CLIENT,
        Role::Server => SERVER,
    }
}

impl World {
    fn new(tape: &mut Tape<'_>) -> World {
        let (client, server) = (config(tape), config(tape));
        let most = [(&client, &server), (&server, &client)].map(|(sender, receiver)| {
            sender.stream_queue_bytes.min(receiver.stream_window as usize).saturating_mul(64)
        });
        let client = Connection::client(client, 0);
        let server = Connection::server(server, 0);
        World {
            most,
            sides: [Side::new(Role::Client, client), Side::new(Role::Server, server)],
            exchanges: BTreeMap::new(),
            now: 0,
            leaving: false,
        }
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        let role = if tape.one_in(2) { Role::Server } else { Role::Client };
        let side = side_of(role);
        match tape.below(24) {
            0..=2 => self.request(tape),
            3..=5 => self.speak(role, tape),
            6 => self.trailers(role, tape),
            7 => self.inform(tape),
            8..=11 => {
                let most = tape.pick(&[1 << 20, 1, 9, 100, 5_000]);
                self.transmit(side, most);
            }
            12..=16 => {
                let most = tape.pick(&[1 << 20, 1, 9, 100, 5_000]);
                self.deliver(side, most);
            }
            17 => self.release(role, tape),
            18 => self.leave(role, tape),
            19 if tape.one_in(3) => self.prioritize(role, tape),
            19 => self.ping(side),
            20 => self.wait(tape),
            21 => self.sides[side].core.trim(),
            22 => {
                for side in [CLIENT, SERVER, CLIENT] {
                    self.transmit(side, 1 << 20);
                    self.deliver(1 - side, 1 << 20);
                }
            }
            _ => match tape.below(48) {
                0 => {
                    self.leaving = true;
                    self.sides[side].core.shutdown();
                    self.events(side);
                }
                47 => self.cut(),
                _ => {}
            },
        }
    }

    /// The wire breaks.
    fn cut(&mut self) {
        self.leaving = true;
        for side in [CLIENT, SERVER] {
            self.sides[side].inbox_at = self.sides[side].inbox.len();
            self.sides[side].end_told = true;
            self.sides[side].core.receive_end();
            self.events(side);
        }
    }

    fn request(&mut self, tape: &mut Tape<'_>) {
        if self.exchanges.len() >= EXCHANGES {
            return;
        }
        let (method, extended) = tape.pick(&[
            ("POST", false),
            ("GET", false),
            ("HEAD", false),
            ("CONNECT", false),
            ("CONNECT", true),
        ]);
        let uri = if method == "CONNECT" && !extended { "a:1" } else { "http://a/path?query" };
        let mut message =
            Message::new(tape.pick(&[0, 0, 1, 10, 3_000, 20_000, 100_000]).min(self.most[CLIENT]));
        message.announced = tape.one_in(3) && method != "CONNECT";
        let end = message.left == 0 && tape.one_in(2) && method != "CONNECT";
        let headers = fields(tape, message.announced.then_some(message.left));
        let mut request = Request::builder().method(method).uri(uri).body(()).expect("a request");
        *request.headers_mut() = headers.clone();
        if extended {
            request.extensions_mut().insert(Protocol::WEBSOCKET);
        }
        let key = match self.sides[CLIENT].core.request(&request, end) {
            Ok(key) => key,
            Err(CommandError::TooManyStreams) => return,
            // The server's SETTINGS have not come.
            Err(CommandError::NoConnectProtocol) if extended => return,
            Err(CommandError::GoingAway | CommandError::ConnectionClosed) if self.leaving => return,
            Err(error) => panic!("{error}"),
        };
        message.head = Some(headers);
        if end {
            message.end = End::Plain;
        }
        let id = self.sides[CLIENT].core.stream_id(key).expect("a new stream");
        let exchange = Exchange {
            request: message,
            response: Message::new(tape.pick(&[0, 1, 10, 3_000, 20_000, 100_000]).min(self.most[SERVER])),
            status: StatusCode::OK,
            method: request.method().clone(),
            extended,
            interim_sent: 0,
            interim_seen: 0,
            client: Some(key),
            server: None,
            disturbed: false,
        };
        assert!(self.exchanges.insert(id, exchange).is_none());
    }

    /// An exchange on which this side may still say something.
    fn choose(&self, role: Role, tape: &mut Tape<'_>) -> Option<u32> {
        let number = usize::from(tape.byte());
        let held = |exchange: &Exchange| match role {
            Role::Client => exchange.client.is_some(),
            Role::Server => exchange.server.is_some(),
        };
        let ids: Vec<u32> =
            self.exchanges.iter().filter(|(_, exchange)| held(exchange)).map(|(id, _)| *id).collect();
        ids.get(number % ids.len().max(1)).copied()
    }

    /// Sends a response's head, or a piece of content, however much room there is.
    fn speak(&mut self, role: Role, tape: &mut Tape<'_>) {
        let Some(id) = self.choose(role, tape) else { return };
        let exchange = self.exchanges.get_mut(&id).expect("chosen");
        if exchange.of(role).end != End::Open {
            return;
        }
        if exchange.of(role).head.is_none() {
            let announced = tape.one_in(3) && exchange.method != Method::CONNECT;
            let headers = fields(tape, announced.then_some(exchange.response.left));
            exchange.response.announced = announced;
            exchange.status = tape.pick(&[StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::NO_CONTENT]);
            return self.respond(id, headers);
        }
        let message = exchange.of(role);
        let length = tape.pick(&[0, 1, 100, 2_047, 2_048, 5_000, 50_000]).min(message.left);
        let end = tape.one_in(3) && (length == message.left || !message.announced);
        self.send(id, role, length, end);
    }

    fn respond(&mut self, id: u32, headers: HeaderMap) {
        let exchange = self.exchanges.get_mut(&id).expect("chosen");
        let Some(key) = exchange.server else { return };
        let bare = exchange.method == Method::HEAD || exchange.status == StatusCode::NO_CONTENT;
        // Without this a client could not tell an announced length from content.
        let end = bare || exchange.response.left == 0 && id % 4 == 1;
        let result = self.sides[SERVER].core.respond(key, exchange.status, &headers, end);
        result.unwrap_or_else(|error| panic!("respond on {id}: {error}: {exchange:?}"));
        exchange.response.head = Some(headers);
        if end {
            exchange.response.left = 0;
            exchange.response.end = End::Plain;
        }
    }

    fn send(&mut self, id: u32, role: Role, length: usize, end: bool) {
        let exchange = self.exchanges.get_mut(&id).expect("chosen");
        let Some(key) = *exchange.key(role) else { return };
        let message = exchange.of(role);
        let data = content(id, role, message.sent, length);
        message.sent += length;
        message.left -= length;
        if end {
            message.left = 0;
            message.end = End::Plain;
        }
        let result = self.sides[side_of(role)].core.send_data(key, data, end);
        result.unwrap_or_else(|error| panic!("send_data on {id}: {error}: {exchange:?}"));
    }

    fn trailers(&mut self, role: Role, tape: &mut Tape<'_>) {
        let Some(id) = self.choose(role, tape) else { return };
        let exchange = self.exchanges.get_mut(&id).expect("chosen");
        let Some(key) = *exchange.key(role) else { return };
        // A tunnel has none (RFC 9113 §8.5).
        if exchange.method == Method::CONNECT && (role == Role::Client || exchange.status.is_success()) {
            return;
        }
        let message = exchange.of(role);
        if message.head.is_none() || message.end != End::Open || (message.announced && message.left > 0) {
            return;
        }
        let headers = fields(tape, None);
        message.left = 0;
        message.end = if headers.is_empty() { End::Plain } else { End::Trailers(headers.clone()) };
        let result = self.sides[side_of(role)].core.send_trailers(key, headers);
        result.unwrap_or_else(|error| panic!("send_trailers on {id}: {error}: {exchange:?}"));
    }

    fn inform(&mut self, tape: &mut Tape<'_>) {
        let Some(id) = self.choose(Role::Server, tape) else { return };
        let exchange = self.exchanges.get_mut(&id).expect("chosen");
        let (Some(key), None) = (exchange.server, &exchange.response.head) else { return };
        exchange.interim_sent += 1;
        let result = self.sides[SERVER].core.inform(key, StatusCode::EARLY_HINTS, &fields(tape, None));
        result.unwrap_or_else(|error| panic!("inform on {id}: {error}: {exchange:?}"));
    }

    fn release(&mut self, role: Role, tape: &mut Tape<'_>) {
        let Some(id) = self.choose(role, tape) else { return };
        let most = tape.pick(&[usize::MAX, 1, 1_000]);
        self.release_up_to(id, role, most);
    }

    fn release_up_to(&mut self, id: u32, role: Role, most: usize) {
        let exchange = self.exchanges.get_mut(&id).expect("chosen");
        let Some(key) = *exchange.key(role) else { return };
        let message = match role {
            Role::Client => &mut exchange.response,
            Role::Server => &mut exchange.request,
        };
        let n = message.unreleased.min(most);
        message.unreleased -= n;
        self.sides[side_of(role)].core.release(key, n);
    }

    /// Lets go of an exchange, mostly one that is complete; or resets it.
    fn leave(&mut self, role: Role, tape: &mut Tape<'_>) {
        let Some(id) = self.choose(role, tape) else { return };
        let exchange = self.exchanges.get_mut(&id).expect("chosen");
        let Some(key) = *exchange.key(role) else { return };
        if !is_through(exchange, role) {
            if !tape.one_in(2) {
                return;
            }
            exchange.disturbed = true;
        }
        let core = &mut self.sides[side_of(role)].core;
        if tape.one_in(3) {
            core.reset(key, Reason::CANCEL);
            exchange.disturbed = true;
        }
        core.finish(key);
        *exchange.key(role) = None;
        self.events(side_of(role));
    }

    fn prioritize(&mut self, role: Role, tape: &mut Tape<'_>) {
        let Some(id) = self.choose(role, tape) else { return };
        let Some(key) = *self.exchanges.get_mut(&id).expect("chosen").key(role) else { return };
        let priority = Priority::new(tape.byte() & 7, tape.one_in(2));
        // A stream that is closed and not let go of has no order.
        let result = self.sides[side_of(role)].core.prioritize(key, priority);
        assert!(matches!(result, Ok(()) | Err(CommandError::StreamGone)), "{result:?}");
    }

    fn ping(&mut self, side: usize) {
        let side = &mut self.sides[side];
        match side.core.ping(*b"fuzzping") {
            Ok(()) => side.pings += 1,
            Err(CommandError::Busy | CommandError::ConnectionClosed) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn wait(&mut self, tape: &mut Tape<'_>) {
        self.now = (self.now + tape.pick(&[1, 40, 300]) * MILLISECOND).min(TIME_LIMIT);
        for side in [CLIENT, SERVER] {
            self.sides[side].core.handle_timeout(self.now);
            self.events(side);
        }
    }

    /// Writes up to `most` bytes onto the wire.
    fn transmit(&mut self, from: usize, most: usize) {
        let mut left = most;
        while self.sides[from].core.has_output() && left > 0 {
            let core = &mut self.sides[from].core;
            let mut slices = [IoSlice::new(&[]); 9];
            let used = core.poll_transmit(self.now, &mut slices);
            let mut bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(!bytes.is_empty(), "has_output() promised some");
            bytes.truncate(left);
            left -= bytes.len();
            core.transmitted(bytes.len());
            self.sides[from].watch.sent(&bytes);
            self.sides[1 - from].inbox.extend_from_slice(&bytes);
        }
        self.events(from);
    }

    /// Takes up to `most` bytes off the wire.
    fn deliver(&mut self, to: usize, most: usize) {
        let side = &mut self.sides[to];
        if !side.core.wants_input() {
            if side.closed {
                side.inbox_at = side.inbox.len();
            }
            return;
        }
        let n = most.min(side.in_flight());
        let bytes = Bytes::copy_from_slice(&side.inbox[side.inbox_at..side.inbox_at + n]);
        side.inbox_at += n;
        if side.inbox_at == side.inbox.len() {
            side.inbox.clear();
            side.inbox_at = 0;
        }
        side.watch.received(&bytes);
        side.core.receive(bytes);
        self.events(to);
    }

    fn events(&mut self, side: usize) {
        while let Some(event) = self.sides[side].core.poll_event(self.now) {
            let role = self.sides[side].role;
            trace(|| format!("{role:?} {event:?}"));
            assert!(!self.sides[side].closed, "{event:?} after Closed");
            self.on_event(role, event);
        }
        let side = &self.sides[side];
        assert!(!side.core.has_events());
        let unreleased: usize = self
            .exchanges
            .values()
            .map(|exchange| match side.role {
                Role::Client if exchange.client.is_some() => exchange.response.unreleased,
                Role::Server if exchange.server.is_some() => exchange.request.unreleased,
                Role::Client | Role::Server => 0,
            })
            .sum();
        assert_eq!(side.core.held().received, unreleased, "{:?}", side.role);
    }

    fn on_event(&mut self, role: Role, event: Event) {
        let side = side_of(role);
        match event {
            Event::Request { stream, request, end } => {
                let id = self.sides[side].core.stream_id(stream).expect("a new stream");
                let exchange = self.exchanges.get_mut(&id).expect("somebody asked");
                assert!(!exchange.request.head_seen && exchange.server.is_none());
                assert_eq!(request.method(), exchange.method);
                assert_eq!(Some(request.headers()), exchange.request.head.as_ref());
                let protocol = request.extensions().get::<Protocol>();
                assert_eq!(protocol.is_some(), exchange.extended);
                exchange.request.head_seen = true;
                exchange.server = Some(stream);
                saw_end(&mut exchange.request, end);
            }
            Event::Response { stream, response, end } => {
                let exchange = self.find(role, stream);
                assert!(!exchange.response.head_seen);
                assert_eq!(response.status(), exchange.status);
                assert_eq!(Some(response.headers()), exchange.response.head.as_ref());
                assert_eq!(exchange.interim_seen, exchange.interim_sent);
                exchange.response.head_seen = true;
                saw_end(&mut exchange.response, end);
            }
            Event::Informational { stream, .. } => {
                let exchange = self.find(role, stream);
                exchange.interim_seen += 1;
                assert!(exchange.interim_seen <= exchange.interim_sent && !exchange.response.head_seen);
            }
            Event::Data { stream, data, end } => {
                let id = self.sides[side].core.stream_id(stream).expect("an open stream");
                let (message, from) = match (role, self.find(role, stream)) {
                    (Role::Client, exchange) => (&mut exchange.response, Role::Server),
                    (Role::Server, exchange) => (&mut exchange.request, Role::Client),
                };
                assert!(message.head_seen && !message.end_seen && (end || !data.is_empty()));
                let same = data.iter().zip(message.seen..).all(|(seen, at)| *seen == octet(id, from, at));
                assert!(same, "content of stream {id} differs behind byte {}", message.seen);
                message.seen += data.len();
                message.unreleased += data.len();
                assert!(message.seen <= message.sent);
                saw_end(message, end);
            }
            Event::Trailers { stream, trailers } => {
                let message = match (role, self.find(role, stream)) {
                    (Role::Client, exchange) => &mut exchange.response,
                    (Role::Server, exchange) => &mut exchange.request,
                };
                assert_eq!(message.end, End::Trailers(trailers));
                assert!(message.seen == message.sent && !message.end_seen);
                message.end_seen = true;
            }
            Event::Reset { stream, reason, remote, .. } => self.on_reset(role, stream, reason, remote),
            Event::Writable { stream } => {
                // Others may have taken the room since.
                self.find(role, stream).of(role).waiting = false;
            }
            Event::Pong { payload } => {
                assert_eq!(&payload, b"fuzzping");
                self.sides[side].pings -= 1;
            }
            Event::GoAway { reason, .. } => {
                assert!(self.leaving && reason == Reason::NO_ERROR, "{reason}");
            }
            Event::Closed { error } => self.on_closed(role, error),
            other => panic!("{other:?}"),
        }
    }

    fn on_reset(&mut self, role: Role, stream: StreamKey, reason: Reason, remote: bool) {
        let leaving = self.leaving;
        let exchange = self.find(role, stream);
        let refused = reason == Reason::REFUSED_STREAM && role == Role::Client && remote;
        assert!(!refused || exchange.server.is_none(), "refused after it was served");
        // What the server did not want to hear any more.
        let enough = reason == Reason::NO_ERROR && exchange.server.is_none() && role == Role::Client;
        let meant = exchange.disturbed || refused || enough || leaving;
        assert!(meant, "nobody meant to reset with {reason}: {exchange:?}");
        exchange.disturbed = true;
        *exchange.key(role) = None;
        self.sides[side_of(role)].core.finish(stream);
    }

    fn on_closed(&mut self, role: Role, error: Option<ConnectionError>) {
        self.sides[side_of(role)].closed = true;
        let harmless = error.is_none_or(|error| error.reason == Reason::NO_ERROR);
        assert!(self.leaving && harmless, "{role:?} closed: {error:?}");
        for exchange in self.exchanges.values_mut() {
            if exchange.key(role).take().is_some() && !is_through(exchange, role) {
                assert!(error.is_some() || exchange.disturbed, "cut off: {exchange:?}");
                exchange.disturbed = true;
            }
        }
    }

    fn find(&mut self, role: Role, stream: StreamKey) -> &mut Exchange {
        self.exchanges
            .values_mut()
            .find(|exchange| match role {
                Role::Client => exchange.client == Some(stream),
                Role::Server => exchange.server == Some(stream),
            })
            .unwrap_or_else(|| panic!("{role:?} hears of {stream:?} after it let go"))
    }

    /// Both sides do what they should: say what they have to say as there is room, take what comes, and let go.
    fn settle(&mut self) {
        for _ in 0..1_000_000 {
            let mut moved = false;
            let ids: Vec<u32> = self.exchanges.keys().copied().collect();
            for id in ids {
                for role in [Role::Client, Role::Server] {
                    moved |= self.proceed(id, role);
                }
            }
            for side in [CLIENT, SERVER] {
                moved |= self.sides[side].core.has_output();
                self.transmit(side, usize::MAX);
            }
            for side in [CLIENT, SERVER] {
                moved |= self.sides[side].in_flight() > 0;
                self.deliver(side, usize::MAX);
                moved |= self.sides[side].core.has_output();
            }
            self.tell_ends();
            if !moved {
                return self.check_settled();
            }
        }
        panic!("no end");
    }

    /// Takes one polite step on one side of an exchange; `true` if there was one to take.
    fn proceed(&mut self, id: u32, role: Role) -> bool {
        self.release_up_to(id, role, usize::MAX);
        let exchange = self.exchanges.get_mut(&id).expect("an exchange");
        let Some(key) = *exchange.key(role) else { return false };
        if is_through(exchange, role) {
            *exchange.key(role) = None;
            self.sides[side_of(role)].core.finish(key);
            return true;
        }
        if exchange.of(role).head.is_none() {
            self.respond(id, HeaderMap::new());
            return true;
        }
        let message = exchange.of(role);
        if message.end != End::Open || message.waiting {
            return false;
        }
        if message.left == 0 {
            self.send(id, role, 0, true);
            return true;
        }
        let room = self.sides[side_of(role)].core.send_capacity(key);
        if room == 0 {
            message.waiting = true;
            return false;
        }
        let length = room.min(message.left);
        let end = length == message.left && id % 4 == 3;
        self.send(id, role, length, end);
        true
    }

    /// A side that has closed and written all ends the other's input.
    fn tell_ends(&mut self) {
        for side in [CLIENT, SERVER] {
            let other = &self.sides[1 - side];
            let over = other.closed && !other.core.has_output() && self.sides[side].in_flight() == 0;
            if over && !std::mem::replace(&mut self.sides[side].end_told, true) {
                self.sides[side].core.receive_end();
                self.events(side);
            }
        }
    }

    fn check_settled(&mut self) {
        for (id, exchange) in &self.exchanges {
            assert!(exchange.disturbed || exchange.is_complete(), "stream {id} hangs: {exchange:?}");
            assert!(
                exchange.client.is_none() && exchange.server.is_none(),
                "stream {id} is held: {exchange:?}"
            );
        }
        for side in &self.sides {
            assert_eq!(side.core.open_streams(), 0, "{:?}", side.role);
            assert_eq!(side.core.held().total(), 0, "{:?} holds {:?}", side.role, side.core.held());
            assert!(side.watch.is_whole() || side.end_told, "{:?} sent half a frame", side.role);
            assert!(side.core.is_idle() || side.closed, "{:?} is not idle", side.role);
            assert!(side.pings == 0 || self.leaving, "a PING is lost");
        }
    }

    /// The server goes away, then both are gone without a bad word.
    fn part(&mut self) {
        self.leaving = true;
        self.sides[SERVER].core.shutdown();
        self.events(SERVER);
        self.settle();
        assert!(self.sides[CLIENT].closed && self.sides[SERVER].closed);
    }
}
