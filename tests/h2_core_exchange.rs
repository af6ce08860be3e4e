//! Two cores back to back: every command arrives as the matching event, however the bytes are split.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

use std::collections::BTreeMap;
use std::io::IoSlice;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use wakering::internals::h2::{Config, Connection, Event, Reason, StreamKey};

/// How bytes are cut between the cores.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Pieces of this size.
    Every(usize),
    /// Once, at this byte of all that is sent in this direction.
    At(usize),
}

/// One end with what it has seen. Content is summed up, because pieces of it depend on the cut.
struct End {
    core: Connection,
    sent: usize,
    log: Vec<String>,
    content: BTreeMap<u32, Vec<u8>>,
    closed: bool,
}

impl End {
    fn new(core: Connection) -> End {
        End { core, sent: 0, log: Vec::new(), content: BTreeMap::new(), closed: false }
    }

    fn output(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.core.has_output() {
            let mut slices = [IoSlice::new(&[]); 7];
            let used = self.core.poll_transmit(0, &mut slices);
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            // A socket that never takes everything at once.
            let n = bytes.len().div_ceil(2);
            self.core.transmitted(n);
            all.extend_from_slice(&bytes[..n]);
        }
        all
    }

    fn pieces(&mut self, cut: Cut) -> Vec<Bytes> {
        let bytes = Bytes::from(self.output());
        let before = self.sent;
        self.sent += bytes.len();
        match cut {
            Cut::Every(step) => bytes.chunks(step).map(Bytes::copy_from_slice).collect(),
            Cut::At(at) if at > before && at < self.sent => {
                vec![bytes.slice(..at - before), bytes.slice(at - before..)]
            }
            Cut::At(_) => vec![bytes],
        }
    }

    fn id(&self, stream: StreamKey) -> u32 {
        self.core.stream_id(stream).expect("an event's stream is alive")
    }

    fn fields(headers: &HeaderMap) -> String {
        let mut list: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        list.sort();
        list.join(" ")
    }
}

/// The server's answers, chosen by path; an odd ending each.
fn on_server(server: &mut End, event: Event, keys: &mut BTreeMap<u32, (StreamKey, String)>) {
    match event {
        Event::Request { stream, request, end } => {
            let id = server.id(stream);
            let path = request.uri().path().to_owned();
            server.log.push(format!(
                "{id} {} {} end={end} {}",
                request.method(),
                request.uri(),
                End::fields(request.headers())
            ));
            keys.insert(id, (stream, path));
            if end || request.method() == Method::CONNECT {
                answer(server, id, keys);
            }
        }
        Event::Data { stream, data, end } => {
            let id = server.id(stream);
            server.content.entry(id).or_default().extend_from_slice(&data);
            server.core.release(stream, data.len());
            if keys[&id].1.is_empty() {
                server.core.send_data(stream, data, end).unwrap();
                if end {
                    server.core.finish(stream);
                }
            } else if end {
                answer(server, id, keys);
            }
        }
        Event::Trailers { stream, trailers } => {
            let id = server.id(stream);
            server.log.push(format!("{id} trailers {}", End::fields(&trailers)));
            answer(server, id, keys);
        }
        Event::Reset { stream, reason, remote, .. } => {
            server.log.push(format!("{} reset {reason} remote={remote}", server.id(stream)));
            server.core.finish(stream);
        }
        Event::Pong { payload } => server.log.push(format!("pong {payload:?}")),
        Event::GoAway { last_stream, reason, .. } => {
            server.log.push(format!("goaway {last_stream} {reason}"));
        }
        Event::Closed { error } => {
            server.log.push(format!("closed {error:?}"));
            server.closed = true;
        }
        other => panic!("{other:?}"),
    }
}

fn answer(server: &mut End, id: u32, keys: &BTreeMap<u32, (StreamKey, String)>) {
    let (stream, path) = &keys[&id];
    let stream = *stream;
    let mut headers = HeaderMap::new();
    headers.insert("x-path", path.parse().unwrap_or_else(|_| "none".parse().unwrap()));
    let core = &mut server.core;
    match path.as_str() {
        "/trailers" => {
            core.respond(stream, StatusCode::OK, &headers, false).unwrap();
            core.send_data(stream, Bytes::from_static(b"some content"), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "12".parse().unwrap());
            core.send_trailers(stream, trailers).unwrap();
        }
        "/hints" => {
            core.inform(stream, StatusCode::EARLY_HINTS, &headers).unwrap();
            core.respond(stream, StatusCode::NO_CONTENT, &HeaderMap::new(), false).unwrap();
        }
        "/reset" => core.reset(stream, Reason::CONNECT_ERROR),
        "/drop" => {}
        "/silent" => return,
        "" => {
            core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
            return;
        }
        _ => {
            let body = server.content.get(&id).cloned().unwrap_or_default();
            core.respond(stream, StatusCode::OK, &headers, false).unwrap();
            core.send_data(stream, Bytes::from(body), false).unwrap();
            core.send_data(stream, Bytes::new(), true).unwrap();
        }
    }
    core.finish(stream);
}

fn on_client(client: &mut End, event: Event) {
    match event {
        Event::Response { stream, response, end } => {
            let id = client.id(stream);
            client.log.push(format!(
                "{id} {} end={end} {}",
                response.status(),
                End::fields(response.headers())
            ));
            if end {
                client.core.finish(stream);
            }
        }
        Event::Informational { stream, response } => {
            let id = client.id(stream);
            client.log.push(format!("{id} {} {}", response.status(), End::fields(response.headers())));
        }
        Event::Data { stream, data, end } => {
            client.content.entry(client.id(stream)).or_default().extend_from_slice(&data);
            client.core.release(stream, data.len());
            if end {
                client.log.push(format!("{} end", client.id(stream)));
                client.core.finish(stream);
            }
        }
        Event::Trailers { stream, trailers } => {
            client.log.push(format!("{} trailers {}", client.id(stream), End::fields(&trailers)));
            client.core.finish(stream);
        }
        Event::Reset { stream, reason, remote, .. } => {
            client.log.push(format!("{} reset {reason} remote={remote}", client.id(stream)));
            client.core.finish(stream);
        }
        Event::GoAway { last_stream, reason, debug } => {
            client.log.push(format!("goaway {last_stream} {reason} {debug:?}"));
        }
        Event::Pong { payload } => client.log.push(format!("pong {payload:?}")),
        Event::Closed { error } => {
            client.log.push(format!("closed {error:?}"));
            client.closed = true;
        }
        other => panic!("{other:?}"),
    }
}

/// Exchanges bytes and events until nothing moves.
fn settle(client: &mut End, server: &mut End, cut: Cut, keys: &mut BTreeMap<u32, (StreamKey, String)>) {
    loop {
        let mut moved = false;
        for piece in client.pieces(cut) {
            moved |= !piece.is_empty();
            server.core.receive(piece);
            while let Some(event) = server.core.poll_event(0) {
                on_server(server, event, keys);
            }
        }
        for piece in server.pieces(cut) {
            moved |= !piece.is_empty();
            client.core.receive(piece);
            while let Some(event) = client.core.poll_event(0) {
                on_client(client, event);
            }
        }
        while let Some(event) = server.core.poll_event(0) {
            on_server(server, event, keys);
        }
        while let Some(event) = client.core.poll_event(0) {
            on_client(client, event);
        }
        // Who is done closes the socket.
        if client.closed && !server.closed && !client.core.has_output() {
            server.core.receive_end();
            moved = true;
        }
        if !moved {
            return;
        }
    }
}

fn get(client: &mut End, method: &str, path: &str) -> StreamKey {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://example.com{path}"))
        .header("user-agent", "wakering")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(())
        .unwrap();
    client.core.request(&request, true).unwrap()
}

fn post(client: &mut End, path: &str, length: Option<usize>) -> StreamKey {
    let mut request = Request::post(format!("https://example.com{path}"));
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    client.core.request(&request.body(()).unwrap(), false).unwrap()
}

/// Everything that two ends can do with each other. Returns both logs and what each direction carried.
fn play(cut: Cut, content: usize) -> (Vec<String>, Vec<String>, [usize; 2]) {
    let mut client = End::new(Connection::client(Config::default(), 0));
    let mut server = End::new(Connection::server(Config::default(), 0));
    let mut keys = BTreeMap::new();
    let body: Vec<u8> = (0..content).map(|n| (n * 7 % 251) as u8).collect();

    get(&mut client, "GET", "/plain?q=1");
    get(&mut client, "HEAD", "/head");
    get(&mut client, "GET", "/trailers");
    get(&mut client, "GET", "/hints");
    get(&mut client, "GET", "/reset");
    get(&mut client, "GET", "/drop");
    settle(&mut client, &mut server, cut, &mut keys);

    let echo = post(&mut client, "/echo", Some(content));
    for (number, piece) in body.chunks(content.div_ceil(3)).enumerate() {
        client.core.send_data(echo, Bytes::copy_from_slice(piece), number == 2).unwrap();
        settle(&mut client, &mut server, cut, &mut keys);
    }
    let with_trailers = post(&mut client, "/upload", None);
    client.core.send_data(with_trailers, Bytes::from(body.clone()), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "yes".parse().unwrap());
    client.core.send_trailers(with_trailers, trailers).unwrap();
    let given_up = get(&mut client, "GET", "/silent");
    settle(&mut client, &mut server, cut, &mut keys);
    client.core.reset(given_up, Reason::CANCEL);
    client.core.finish(given_up);

    let tunnel = Request::connect("example.com:443").body(()).unwrap();
    let tunnel = client.core.request(&tunnel, false).unwrap();
    client.core.send_data(tunnel, Bytes::from_static(b"through the tunnel"), true).unwrap();
    client.core.ping(*b"client's").unwrap();
    server.core.ping(*b"server's").unwrap();
    settle(&mut client, &mut server, cut, &mut keys);

    server.core.shutdown();
    settle(&mut client, &mut server, cut, &mut keys);
    assert!(server.closed && client.closed, "{cut:?}: {:?}", client.log);
    assert_eq!(server.core.open_streams() + client.core.open_streams(), 0);
    for id in [13, 15] {
        assert_eq!(server.content[&id], body);
        assert_eq!(client.content[&id], body);
    }
    assert_eq!(client.content[&19], b"through the tunnel");
    (client.log, server.log, [client.sent, server.sent])
}

#[test]
fn every_command_arrives_as_its_event() {
    let (client, server, _) = play(Cut::Every(usize::MAX), 300);
    let cookies = "cookie=a=1; b=2 user-agent=wakering";
    assert_eq!(
        server,
        [
            format!("1 GET http://example.com/plain?q=1 end=true {cookies}"),
            format!("3 HEAD http://example.com/head end=true {cookies}"),
            format!("5 GET http://example.com/trailers end=true {cookies}"),
            format!("7 GET http://example.com/hints end=true {cookies}"),
            format!("9 GET http://example.com/reset end=true {cookies}"),
            format!("11 GET http://example.com/drop end=true {cookies}"),
            "13 POST https://example.com/echo end=false content-length=300".to_owned(),
            "15 POST https://example.com/upload end=false ".to_owned(),
            "15 trailers x-end=yes".to_owned(),
            format!("17 GET http://example.com/silent end=true {cookies}"),
            "17 reset CANCEL remote=true".to_owned(),
            "19 CONNECT example.com:443 end=false ".to_owned(),
            "pong [115, 101, 114, 118, 101, 114, 39, 115]".to_owned(),
            "goaway 0 NO_ERROR".to_owned(),
            "closed None".to_owned(),
        ]
    );
    let mut client = client;
    client.sort();
    let mut expected = [
        "1 200 OK end=false x-path=/plain",
        "1 end",
        "3 200 OK end=true x-path=/head",
        "5 200 OK end=false x-path=/trailers",
        "5 trailers x-sum=12",
        "7 103 Early Hints x-path=/hints",
        "7 204 No Content end=true ",
        "9 reset CONNECT_ERROR remote=true",
        "11 reset INTERNAL_ERROR remote=true",
        "13 200 OK end=false x-path=/echo",
        "13 end",
        "15 200 OK end=false x-path=/upload",
        "15 end",
        "19 200 OK end=false ",
        "19 end",
        "closed None",
        "goaway 2147483647 NO_ERROR b\"\"",
        "pong [99, 108, 105, 101, 110, 116, 39, 115]",
    ];
    expected.sort_unstable();
    assert_eq!(client, expected);
}

#[test]
fn the_events_do_not_depend_on_where_the_bytes_are_split() {
    let whole = play(Cut::Every(usize::MAX), 300);
    let most = whole.2[0].max(whole.2[1]);
    for at in 1..most {
        let (client, server, _) = play(Cut::At(at), 300);
        assert_eq!((&client, &server), (&whole.0, &whole.1), "cut at {at}");
    }
    for step in [1, 2, 3, 5, 8, 9, 10, 13, 64] {
        let (client, server, _) = play(Cut::Every(step), 300);
        assert_eq!((&client, &server), (&whole.0, &whole.1), "pieces of {step}");
    }
}

#[test]
fn content_of_many_frames_arrives_whole_in_pieces_of_any_size() {
    for step in [1_000, 4_095, 4_096, 16_384, 16_393, 65_536, usize::MAX] {
        play(Cut::Every(step), 300_000);
    }
}
