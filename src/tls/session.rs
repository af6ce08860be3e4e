//! One TLS session without its socket: bytes in, bytes out.
//!
//! rustls's machine is used in its unbuffered mode: records are opened where they were read to, and sealed where they are
//! written from, in memory that belongs to the thread. What is kept from one call to the next is only what cannot be
//! otherwise: a record of which a part has come, plaintext that nobody has taken, sealed bytes that the socket has not
//! taken. Each of them is freed when it is used up, so that a session with nothing to do holds no buffer.

use std::{cell::Cell, io::IoSlice, sync::Arc};

use bytes::BytesMut;
use rustls::{
    ClientConfig, CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::{CertificateDer, ServerName},
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

use super::octets::{Octets, Pieces};
use crate::limits::{TLS_HELD_INPUT, TLS_SEALED};

/// One session, of either side.
pub(super) struct Session {
    machine: Machine,
    input: Input,
    /// We have said that we write no more.
    closed: bool,
    /// Received bytes that make nothing whole yet.
    incoming: Vec<u8>,
    /// Plaintext that came before anybody asked.
    unread: BytesMut,
    /// Sealed bytes that the socket has not taken, …
    outgoing: Octets,
    /// … but for so many of them.
    sent: usize,
    /// Something has come.
    greeted: bool,
    /// The host that the client asked for.
    server_name: Option<Box<str>>,
}

enum Machine {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What can still come from the peer.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Open,
    /// The peer has said that it writes no more.
    Closed,
    /// The stream ended without that word.
    Cut,
    Failed(Error),
    /// The client does not speak TLS.
    Cleartext,
}

/// What the machine is asked to do once it has dealt with what came.
enum Job<'a> {
    Nothing,
    Seal(&'a [u8]),
    SayClosed,
}

/// What became of it.
enum Next {
    /// There is more to deal with.
    More,
    /// The machine wants bytes; it cannot do its job yet.
    Blocked,
    /// The job is done.
    Done,
    PeerClosed,
    Closed,
    Failed(Error),
}

/// What the handshake has agreed on, as the machine says it.
#[derive(Clone)]
pub(super) struct Agreed {
    pub(super) version: Option<ProtocolVersion>,
    pub(super) suite: Option<rustls::SupportedCipherSuite>,
    pub(super) kind: Option<HandshakeKind>,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) server_name: Option<Box<str>>,
}

thread_local! {
    /// The name in the hello that is being dealt with on this thread, as the resolver of certificates was told it: the
    /// unbuffered machine does not tell it otherwise.
    static NAMED: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// Notes which host a client asks for.
pub(super) fn note_server_name(name: &str) {
    NAMED.set(Some(name.into()));
}

impl Session {
    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, Error> {
        let mut session = Session::new(Machine::Client(UnbufferedClientConnection::new(config, name)?));
        // It has the first word.
        session.receive_early(&mut []);
        Ok(session)
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Session, Error> {
        Ok(Session::new(Machine::Server(UnbufferedServerConnection::new(config)?)))
    }

    fn new(machine: Machine) -> Session {
        Session {
            machine,
            input: Input::Open,
            closed: false,
            incoming: Vec::new(),
            unread: BytesMut::new(),
            outgoing: Octets::default(),
            sent: 0,
            greeted: false,
            server_name: None,
        }
    }

    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// The stream has ended.
    pub(super) fn cut(&mut self) {
        if matches!(self.input, Input::Open) {
            self.input = Input::Cut;
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.machine.state().is_handshaking()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn agreed(&self) -> Agreed {
        let state = self.machine.state();
        Agreed {
            version: state.protocol_version(),
            suite: state.negotiated_cipher_suite(),
            kind: state.handshake_kind(),
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            certificates: state.peer_certificates().unwrap_or_default().to_vec(),
            server_name: self.server_name.clone(),
        }
    }

    // Input.

    /// What was kept of earlier input, to be put in front of what comes.
    pub(super) fn kept(&self) -> &[u8] {
        &self.incoming
    }

    /// Opens what came; `sealed` begins with what was kept. Plaintext is appended to `plain`, and what has to be said
    /// to the peer waits to be sent.
    pub(super) fn receive(&mut self, sealed: &mut [u8], plain: &mut BytesMut) {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        NAMED.set(None);
        let (used, _done) = self.work(sealed, plain, &mut outgoing, Job::Nothing);
        if let Some(name) = NAMED.take() {
            self.server_name = Some(name);
        }
        self.outgoing = outgoing;
        let rest = &sealed[used..];
        let wanted = matches!(self.input, Input::Open);
        if wanted && rest.len() > TLS_HELD_INPUT {
            self.input = Input::Failed(Error::General("a message is longer than 64 KiB".to_owned()));
        }
        // An empty vector frees what was kept.
        self.incoming = if wanted { rest.to_vec() } else { Vec::new() };
    }

    /// As `receive`, keeping the plaintext until somebody asks.
    pub(super) fn receive_early(&mut self, sealed: &mut [u8]) {
        // Every record of a handshake begins with an octet below 26 (RFC 8446 §5.1), every word of a text protocol with a
        // letter; rustls would answer it with an alert, which such a client cannot read.
        let is_text = sealed.first().is_some_and(u8::is_ascii_alphabetic);
        if is_text && matches!(self.machine, Machine::Server(_)) && self.incoming.is_empty() && !self.greeted
        {
            self.input = Input::Cleartext;
            return;
        }
        self.greeted |= !sealed.is_empty();
        let mut unread = std::mem::take(&mut self.unread);
        self.receive(sealed, &mut unread);
        self.unread = unread;
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Takes plaintext that came early.
    pub(super) fn take_unread(&mut self, most: usize) -> BytesMut {
        if self.unread.len() <= most {
            return std::mem::take(&mut self.unread);
        }
        self.unread.split_to(most)
    }

    /// Puts plaintext back that was not taken after all.
    pub(super) fn keep_unread(&mut self, plain: BytesMut) {
        debug_assert!(self.unread.is_empty(), "what came first is read first");
        self.unread = plain;
    }

    // Output.

    /// Seals as much as one write takes into `sealed`, and says how much that was.
    pub(super) fn seal(
        &mut self,
        slices: &[IoSlice<'_>],
        joined: &mut Vec<u8>,
        sealed: &mut Octets,
    ) -> Result<usize, Error> {
        let (mut pieces, mut accepted) = (Pieces::new(slices), 0);
        while accepted < TLS_SEALED {
            let piece = pieces.next(TLS_SEALED - accepted, joined);
            if piece.is_empty() {
                break;
            }
            self.act(sealed, Job::Seal(piece))?;
            accepted += piece.len();
        }
        Ok(accepted)
    }

    /// Says to the peer that we write no more; before the handshake's end there is no way to say so.
    pub(super) fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) && !self.is_handshaking() {
            let mut outgoing = std::mem::take(&mut self.outgoing);
            // If the machine cannot say it, it has said something worse.
            let _ = self.act(&mut outgoing, Job::SayClosed);
            self.outgoing = outgoing;
        }
    }

    /// Has the machine do its job, and what it has to do before.
    fn act(&mut self, out: &mut Octets, job: Job<'_>) -> Result<(), Error> {
        if let Input::Failed(error) = &self.input {
            return Err(error.clone());
        }
        // The machine remembers where it was in what is kept, and must see it.
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut unread = std::mem::take(&mut self.unread);
        let (used, done) = self.work(&mut incoming, &mut unread, out, job);
        incoming.drain(..used);
        (self.incoming, self.unread) = (incoming, unread);
        match &self.input {
            Input::Failed(error) => Err(error.clone()),
            Input::Open | Input::Closed | Input::Cut if done => Ok(()),
            Input::Open | Input::Closed | Input::Cut | Input::Cleartext => Err(Error::HandshakeNotComplete),
        }
    }

    /// Has the machine deal with `sealed`, then do its job; returns how much of `sealed` it is through with, and whether the
    /// job is done.
    fn work(
        &mut self,
        sealed: &mut [u8],
        plain: &mut BytesMut,
        out: &mut Octets,
        job: Job<'_>,
    ) -> (usize, bool) {
        let mut at = 0;
        loop {
            let (discard, next) = self.machine.step(&mut sealed[at..], plain, out, &job);
            at += discard;
            match next {
                Next::More => {}
                Next::PeerClosed => self.input = Input::Closed,
                Next::Done => break (at, true),
                Next::Blocked | Next::Closed => break (at, false),
                Next::Failed(error) => {
                    self.input = Input::Failed(error);
                    // It may have an alert for the peer, which comes out first; more must not be asked of it.
                    while self.machine.state().wants_write() {
                        let (discard, _alert) =
                            self.machine.step(&mut sealed[at..], plain, out, &Job::Nothing);
                        at += discard;
                    }
                    break (at, false);
                }
            }
        }
    }

    /// Whether there are sealed bytes that the socket has not taken.
    #[inline]
    pub(super) fn holds_output(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Those bytes.
    pub(super) fn held(&self) -> &[u8] {
        &self.outgoing.filled()[self.sent..]
    }

    /// The socket has taken so many of them.
    pub(super) fn took(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.outgoing.len() {
            (self.outgoing, self.sent) = (Octets::default(), 0);
        }
    }

    /// Holds bytes that the socket has not taken.
    pub(super) fn hold(&mut self, sealed: &[u8]) {
        self.outgoing.reserve(sealed.len());
        self.outgoing.spare()[..sealed.len()].copy_from_slice(sealed);
        self.outgoing.advance(sealed.len());
    }
}

impl Machine {
    fn state(&self) -> &CommonState {
        match self {
            Machine::Client(machine) => machine,
            Machine::Server(machine) => machine,
        }
    }

    fn step(
        &mut self,
        sealed: &mut [u8],
        plain: &mut BytesMut,
        out: &mut Octets,
        job: &Job<'_>,
    ) -> (usize, Next) {
        match self {
            Machine::Client(machine) => step(machine.process_tls_records(sealed), plain, out, job),
            Machine::Server(machine) => step(machine.process_tls_records(sealed), plain, out, job),
        }
    }
}

/// Acts on one state of the machine; returns how much input it is through with.
fn step<Side>(
    status: UnbufferedStatus<'_, '_, Side>,
    plain: &mut BytesMut,
    out: &mut Octets,
    job: &Job<'_>,
) -> (usize, Next) {
    let UnbufferedStatus { mut discard, state } = status;
    let next = match state {
        Err(error) => Next::Failed(error),
        Ok(ConnectionState::ReadTraffic(mut records)) => {
            let mut next = Next::More;
            while let Some(record) = records.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => next = Next::Failed(error),
                }
            }
            next
        }
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            failure(filled(out, |spare| message.encode(spare).map_err(encoding)))
        }
        Ok(ConnectionState::TransmitTlsData(message)) => {
            message.done();
            Next::More
        }
        Ok(ConnectionState::BlockedHandshake) => Next::Blocked,
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let done = match job {
                Job::Nothing => Ok(()),
                Job::Seal(bytes) => filled(out, |spare| traffic.encrypt(bytes, spare).map_err(encryption)),
                Job::SayClosed => filled(out, |spare| traffic.queue_close_notify(spare).map_err(encryption)),
            };
            done.map_or_else(Next::Failed, |()| Next::Done)
        }
        Ok(ConnectionState::PeerClosed) => Next::PeerClosed,
        Ok(ConnectionState::Closed) => Next::Closed,
        // Not offered: see the acceptor.
        Ok(ConnectionState::ReadEarlyData(_)) => Next::Failed(Error::General("early data".to_owned())),
        Ok(_unknown) => Next::Failed(Error::General("rustls is in a state unknown here".to_owned())),
    };
    (discard, next)
}

fn failure(outcome: Result<(), Error>) -> Next {
    outcome.map_or_else(Next::Failed, |()| Next::More)
}

/// Why bytes could not be written: there is no room for so many, or an error.
enum Unwritten {
    Room(usize),
    Failed(Error),
}

/// Has `write` write to the spare part, with as much room as it wants.
fn filled(
    out: &mut Octets,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Unwritten>,
) -> Result<(), Error> {
    loop {
        match write(out.spare()) {
            Ok(count) => {
                out.advance(count);
                return Ok(());
            }
            Err(Unwritten::Room(wanted)) => out.reserve(wanted),
            Err(Unwritten::Failed(error)) => return Err(error),
        }
    }
}

fn encoding(error: EncodeError) -> Unwritten {
    match error {
        EncodeError::InsufficientSize(size) => Unwritten::Room(size.required_size),
        EncodeError::AlreadyEncoded => Unwritten::Failed(Error::General(error.to_string())),
    }
}

fn encryption(error: EncryptError) -> Unwritten {
    match error {
        EncryptError::InsufficientSize(size) => Unwritten::Room(size.required_size),
        EncryptError::EncryptExhausted => Unwritten::Failed(Error::EncryptError),
    }
}
