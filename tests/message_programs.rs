//! The programs `message_server` and `message_client` as somebody runs them; by datagrams: `message_udp.rs`.
#![cfg(all(feature = "message", not(loom)))]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

mod support;

use std::{
    io::{Read, Write},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use support::server::{Server as Process, Signal, example};
use wakering::{
    message::{Builder, Incoming, Kind, Message},
    net::TcpListener,
};

/// Longer than anything takes on a loaded machine; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(60);

fn ask(server: &Process, arguments: &[&str]) -> Output {
    let mut command = Command::new(example("message_client"));
    command.args(["--addr", &server.address.to_string(), "--timeout", "5"]).args(arguments);
    command.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn the_client_program_tells_by_its_code_what_came_of_it() {
    let server = Process::start("message_server", &["--secret", "s", "--key", "k"]);
    let with = |arguments: &[&str]| ask(&server, &[&["--secret", "s", "--key", "k"], arguments].concat());
    assert_eq!(code(&with(&["new", "a", "one"])), 0);
    let read = with(&["get", "a"]);
    assert_eq!((code(&read), &read.stdout[..], &read.stderr[..]), (0, &b"one"[..], &b""[..]));
    assert_eq!(code(&with(&["put", "a", "-5"])), 0, "a number below zero is no option");
    assert_eq!(with(&["get", "a"]).stdout, b"-5");
    assert_eq!(code(&with(&["put", "--", "a", "-two"])), 0);
    assert_eq!(code(&with(&["put", "a", "two"])), 0);
    assert_eq!(with(&["get", "a"]).stdout, b"two");
    assert_eq!(code(&with(&["del", "a"])), 0);
    let missing = with(&["get", "a"]);
    assert_eq!((code(&missing), &missing.stdout[..]), (4, &b""[..]));
    assert!(!missing.stderr.is_empty());
    assert_eq!(code(&ask(&server, &["get", "a"])), 5, "without the secret");
    assert_eq!(code(&ask(&server, &["--secret", "s", "--key", "x", "get", "a"])), 5, "another key");
    assert_eq!(code(&with(&["fetch", "a"])), 2);
    server.signal(Signal::Terminate);
    assert_eq!(server.wait(Duration::from_secs(60)).0.code(), Some(0));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let client = |line: &[&str]| Command::new(example("message_client")).args(line).output().unwrap();
    assert_eq!(code(&client(&["--addr", &addr, "--timeout", "0.3", "get", "a"])), 3);
    drop(silent);
    assert_eq!(code(&client(&["--addr", &addr, "get", "a"])), 6);
    let nobody = client(&["--addr", &addr, "--timeout", "0.3", "--reconnect", "get", "a"]);
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert_eq!(code(&nobody), 6);
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn the_client_program_subscribes_and_publishes() {
    let server = Process::start("message_server", &[]);
    let mut subscriber = Command::new(example("message_client"));
    subscriber.args(["--addr", &server.address.to_string(), "sub", "news", "--count", "2"]);
    let subscriber = subscriber.stdout(Stdio::piped()).spawn().unwrap();
    // It has subscribed when the first is heard; until then nobody hears what is published.
    let mut published = 0;
    let mut child = subscriber;
    let ended = support::eventually(Duration::from_secs(60), || {
        published += 1;
        assert_eq!(code(&ask(&server, &["pub", "news", "x"])), 0);
        child.try_wait().unwrap().is_some()
    });
    assert!(ended && published >= 2);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"xx"[..]));
    server.signal(Signal::Interrupt);
    assert_eq!(server.wait(Duration::from_secs(60)).0.code(), Some(0));
}

/// What a program writes, as it comes.
fn heard_by(program: &mut Child) -> Arc<Mutex<Vec<u8>>> {
    let (heard, mut out) = (Arc::<Mutex<Vec<u8>>>::default(), program.stdout.take().unwrap());
    let hears = heard.clone();
    std::thread::spawn(move || {
        let mut octet = [0];
        while out.read(&mut octet).unwrap() > 0 {
            hears.lock().unwrap().push(octet[0]);
        }
    });
    heard
}

#[test]
fn a_subscriber_by_datagrams_is_told_by_a_server_that_was_restarted() {
    let mut server = Process::start("message_server", &["--udp"]);
    let address = server.address.to_string();
    let mut subscriber = support::kill_with_parent(example("message_client"));
    subscriber.args(["--addr", &address, "--udp", "--reconnect", "--renew", "0.1", "--timeout", "60"]);
    let mut subscriber = subscriber.args(["sub", "news"]).stdout(Stdio::piped()).spawn().unwrap();
    let heard = heard_by(&mut subscriber);
    for word in ["a", "b"] {
        // It has subscribed when the first is heard; until then nobody hears what is published.
        let is_heard = support::eventually(LONG, || {
            assert_eq!(code(&ask(&server, &["--udp", "pub", "news", word])), 0);
            heard.lock().unwrap().contains(&word.as_bytes()[0])
        });
        assert!(is_heard, "{word}");
        if word == "a" {
            server.signal(Signal::Terminate);
            assert_eq!(server.wait(LONG).0.code(), Some(0));
            let mut command = support::kill_with_parent(example("message_server"));
            command.args(["--addr", &address, "--udp"]).stdin(Stdio::null());
            server = Process::run("message_server", command);
        }
    }
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
}

#[test]
fn a_subscriber_ends_when_its_server_stands_still() {
    let server = Process::start("message_server", &[]);
    let mut subscriber = support::kill_with_parent(example("message_client"));
    subscriber.args(["--addr", &server.address.to_string(), "--renew", "0.1", "--timeout", "1"]);
    let mut subscriber = subscriber.args(["sub", "news"]).stdout(Stdio::piped()).spawn().unwrap();
    let heard = heard_by(&mut subscriber);
    assert!(support::eventually(LONG, || {
        assert_eq!(code(&ask(&server, &["pub", "news", "x"])), 0);
        !heard.lock().unwrap().is_empty()
    }));
    server.signal(Signal::Stop);
    let ended = subscriber.wait().unwrap().code();
    server.signal(Signal::Continue);
    assert_eq!(ended, Some(3), "nothing ends the connection");
}

#[test]
fn a_subscriber_by_datagrams_ends_when_the_server_has_gone() {
    let server = Process::start("message_server", &["--udp"]);
    let mut subscriber = support::kill_with_parent(example("message_client"));
    subscriber.args(["--addr", &server.address.to_string(), "--udp", "--renew", "0.1", "--timeout", "1"]);
    let mut subscriber = subscriber.args(["sub", "news"]).stdout(Stdio::piped()).spawn().unwrap();
    let heard = heard_by(&mut subscriber);
    assert!(support::eventually(LONG, || {
        assert_eq!(code(&ask(&server, &["--udp", "pub", "news", "x"])), 0);
        !heard.lock().unwrap().is_empty()
    }));
    server.signal(Signal::Terminate);
    assert_eq!(server.wait(LONG).0.code(), Some(0));
    let ended = subscriber.wait().unwrap().code().unwrap();
    assert!(
        [3, 6].contains(&ended),
        "{ended}: where the system tells, that nobody is there, else that nobody answers"
    );
}

#[test]
fn programs_that_cannot_say_what_they_have_to_end_with_an_error() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        return; // Only some systems have a file that is always full.
    };
    let run = |name: &str, line: &[&str]| {
        let mut command = support::kill_with_parent(example(name));
        let output =
            command.args(line).stdin(Stdio::null()).stdout(full.try_clone().unwrap()).stderr(Stdio::piped());
        output.spawn().unwrap()
    };
    let ended = |child: Child| {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((code(&output), errors.contains("panicked")), (1, false), "{errors}");
        errors
    };
    for name in ["message_server", "message_client", "message_chat"] {
        ended(run(name, &["--help"]));
    }
    let told = ended(run("message_server", &["--addr", "127.0.0.1:0"]));
    assert!(told.contains("standard output"), "{told}");
    let server = Process::start("message_server", &[]);
    let address = server.address.to_string();
    assert_eq!(code(&ask(&server, &["put", "a", "it"])), 0);
    ended(run("message_client", &["--addr", &address, "get", "a"]));
    let mut subscriber = run("message_client", &["--addr", &address, "sub", "news", "--count", "1"]);
    assert!(support::eventually(LONG, || {
        assert_eq!(code(&ask(&server, &["pub", "news", "x"])), 0);
        subscriber.try_wait().unwrap().is_some()
    }));
    ended(subscriber);
}

#[test]
fn an_error_that_nobody_can_read_leaves_the_codes_as_they_are() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        return; // Only some systems have a file that is always full.
    };
    let server = Process::start("message_server", &[]);
    let address = server.address.to_string();
    // A port that was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let lines: [(&str, &[&str], i32); 6] = [
        ("message_client", &["--addr", &address, "get", "missing"], 4),
        ("message_client", &["--addr", &nobody, "get", "a"], 6),
        ("message_client", &["--nothing"], 2),
        ("message_server", &["--nothing"], 2),
        ("message_chat", &["--nothing"], 2),
        ("echo_load", &["--addr", &nobody, "--duration", "1"], 1),
    ];
    for (name, line, wanted) in lines {
        let mut command = support::kill_with_parent(example(name));
        let quiet =
            command.args(line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(full.try_clone().unwrap());
        assert_eq!(quiet.status().unwrap().code(), Some(wanted), "{name} {line:?}");
    }
}

#[test]
fn what_the_store_refuses_leaves_what_it_has() {
    let server = Process::start("message_server", &[]);
    assert_eq!(code(&ask(&server, &["put", "a", "old"])), 0);
    // As much as a frame's length says, which is more than any answer could repeat.
    let body = [&[0, 1, b'a'][..], &vec![b'x'; 65_500]].concat();
    let mut frame = vec![Kind::UPDATE_URI.number(), 0, 3];
    frame.extend_from_slice(&(body.len() as u16).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    frame.extend_from_slice(b"\x4d\x40\0");
    frame.extend_from_slice(&body);
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.write_all(&frame).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], Kind::NOT_PERMITTED.number());
    assert_eq!(ask(&server, &["get", "a"]).stdout, b"old");
}

#[test]
fn programs_of_messages_refuse_what_cannot_work_before_they_begin() {
    let name = "x".repeat(256);
    for (program, line) in [
        ("message_server", ["--workers", "0"]),
        ("message_server", ["--workers", "1025"]),
        ("message_chat", ["--group", "127.0.0.1:8888"]),
        ("message_chat", ["--group", "239.255.88.88:0"]),
        ("message_chat", ["--group", "239.255.88.88"]),
        ("message_chat", ["--name", &name]),
    ] {
        let output = Command::new(example(program)).args(line).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((code(&output), told.lines().count()), (2, 1), "{program} {line:?}: {told}");
    }
}

#[test]
fn the_client_program_asks_nobody_what_it_cannot_mean() {
    let server = Process::start("message_server", &[]);
    for word in ["--secret", "--key", "--session"] {
        assert_eq!(code(&ask(&server, &[word, "", "get", "echo"])), 2, "{word}: a variable that is not set");
        let server = Command::new(example("message_server")).args([word, ""]).output().unwrap();
        assert_eq!(code(&server), 2, "{word}");
    }
    let long = "x".repeat(65_425);
    assert_eq!(code(&ask(&server, &["put", "a", &long])), 2);
    assert_eq!(code(&ask(&server, &["put", "a", &long[..65_421]])), 0);
}

#[test]
fn a_subscriber_reconnects_as_often_as_it_is_cut_off() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut subscriber = support::kill_with_parent(example("message_client"));
    subscriber.args([
        "--addr",
        &listener.local_addr().unwrap().to_string(),
        "--timeout",
        "60",
        "--reconnect",
    ]);
    let mut subscriber =
        subscriber.args(["sub", "news", "--count", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    // It has not been answered yet, three times over.
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
    }
    let (mut stream, _) = listener.accept().unwrap();
    assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
    let news = Message::new(Kind::NOTIFY_URI, "news", "it").to_octets().unwrap();
    stream.write_all(&news).unwrap();
    let heard = heard_by(&mut subscriber);
    assert_eq!(subscriber.wait().unwrap().code(), Some(0));
    assert!(support::eventually(LONG, || *heard.lock().unwrap() == b"it"));
}

/// The next who connects, unless `program` ends before.
fn next_connection(listener: &std::net::TcpListener, program: &mut Child) -> Option<std::net::TcpStream> {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    let is_over = support::eventually(LONG, || {
        accepted = listener.accept().ok();
        accepted.is_some() || program.try_wait().unwrap().is_some()
    });
    assert!(is_over, "nobody connects");
    let (stream, _) = accepted?;
    stream.set_nonblocking(false).unwrap();
    Some(stream)
}

fn said_to_subscribers(words: &[(Kind, &'static str)]) -> Vec<u8> {
    let messages = words.iter().map(|(kind, content)| Message::new(*kind, "news", *content));
    messages.flat_map(|message| message.to_octets().unwrap()).collect()
}

#[test]
fn a_subscriber_whose_renewal_nobody_answers_connects_anew() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut subscriber = support::kill_with_parent(example("message_client"));
    subscriber.args(["--addr", &address, "--timeout", "3", "--renew", "0.1", "--reconnect"]);
    let mut subscriber =
        subscriber.args(["sub", "news", "--count", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    // It stays open, and nothing more comes on it: as when a host has lost its power.
    let mut silent = next_connection(&listener, &mut subscriber).unwrap();
    assert!(silent.read(&mut [0; 1000]).unwrap() > 0);
    silent.write_all(&said_to_subscribers(&[(Kind::CONFIRM_SUBSCRIBE, "")])).unwrap();
    let Some(mut stream) = next_connection(&listener, &mut subscriber) else {
        panic!("it ended: {:?}", subscriber.wait());
    };
    assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
    stream
        .write_all(&said_to_subscribers(&[(Kind::CONFIRM_SUBSCRIBE, ""), (Kind::NOTIFY_URI, "it")]))
        .unwrap();
    let output = subscriber.wait_with_output().unwrap();
    assert_eq!((code(&output), &output.stdout[..]), (0, &b"it"[..]));
}

#[test]
fn a_subscriber_by_datagrams_whose_renewal_nobody_answers_goes_on_asking() {
    let node = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    node.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let address = node.local_addr().unwrap().to_string();
    let mut subscriber = support::kill_with_parent(example("message_client"));
    subscriber.args(["--addr", &address, "--udp", "--timeout", "3", "--renew", "0.1", "--reconnect"]);
    let mut subscriber =
        subscriber.args(["sub", "news", "--count", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut asked = 0;
    while subscriber.try_wait().unwrap().is_none() {
        let Ok((_, from)) = node.recv_from(&mut [0; 1000]) else { continue };
        asked += 1;
        let words: &[_] = match asked {
            1 => &[(Kind::CONFIRM_SUBSCRIBE, "")],
            // As often as a renewal is asked for within its time.
            2..=4 => &[],
            _ => &[(Kind::CONFIRM_SUBSCRIBE, ""), (Kind::NOTIFY_URI, "it")],
        };
        for word in words {
            node.send_to(&said_to_subscribers(&[*word]), from).unwrap();
        }
    }
    let output = subscriber.wait_with_output().unwrap();
    assert_eq!((code(&output), &output.stdout[..]), (0, &b"it"[..]), "asked {asked} times");
}

#[test]
fn a_subscriber_whose_connections_are_short_never_rests_for_longer_than_it_has_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut subscriber = support::kill_with_parent(example("message_client"));
    subscriber.args(["--addr", &address, "--timeout", "2", "--reconnect", "sub", "news", "--count", "9"]);
    let mut subscriber = subscriber.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // With pauses that double, from 50 ms, the eighth would be longer than its time.
    while let Some(mut stream) = next_connection(&listener, &mut subscriber) {
        assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
        let words = [(Kind::CONFIRM_SUBSCRIBE, ""), (Kind::NOTIFY_URI, "x")];
        stream.write_all(&said_to_subscribers(&words)).unwrap();
    }
    let output = subscriber.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((code(&output), &output.stdout[..]), (0, &b"xxxxxxxxx"[..]), "{said}");
}

#[test]
fn what_is_too_long_for_a_session_is_a_mistake_of_who_asks() {
    for by in [&["--session", "s"][..], &["--session", "s", "--udp"]] {
        let server = Process::start("message_server", by);
        let put = |content: &str| ask(&server, &[by, &["put", "a", content]].concat());
        let content = "x".repeat(65_404);
        assert_eq!(code(&put(&content[..65_403])), 0, "{by:?}");
        let refused = put(&content);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(code(&refused), 2, "{by:?}: {said}");
        assert!(said.contains("65423") && said.contains("65422"), "{said}");
    }
}

#[test]
fn the_client_program_says_that_nobody_takes_its_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        match std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            Ok(stream) if waiting.len() < 800 => waiting.push(stream),
            Ok(_) => return,
            Err(error) => break error,
        }
    };
    if full.kind() != std::io::ErrorKind::TimedOut {
        return; // Where the system refuses what has no place.
    }
    let mut client = Command::new(example("message_client"));
    client.args(["--addr", &address.to_string(), "--timeout", "0.3", "get", "a"]);
    let output = client.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(code(&output) == 6 && said.contains("cannot connect in time"), "{said}");
}

#[test]
fn the_client_program_says_when_an_answer_is_not_signed() {
    for (by, with) in [(&[][..], &["--secret", "s"][..]), (&["--key", "k"], &["--key", "k", "--secret", "s"])]
    {
        let server = Process::start("message_server", by);
        let output = ask(&server, &[with, &["get", "missing"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), 5, "{said}");
        assert!(said.contains("authentication") && !said.contains("not found"), "{said}");
        assert!(said.is_ascii(), "no ciphertext: {said}");
    }
}

#[test]
fn a_server_says_how_many_it_did_not_wait_for_any_longer() {
    let server = Process::start("message_server", &[]);
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    assert_eq!(code(&ask(&server, &["put", "a", &"x".repeat(60_000)])), 0);
    // It asks for more than the system keeps for it, and reads nothing.
    let asks = Message::new(Kind::REQUEST_URI, "a", "").to_octets().unwrap().repeat(1000);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let _ = stream.write_all(&asks);
    let idle = std::net::TcpStream::connect(server.address).unwrap();
    server.signal(Signal::Terminate);
    let (status, _, said) = server.wait(LONG);
    drop((stream, idle));
    assert_eq!(status.code(), Some(0));
    assert!(said.contains("connections that were aborted") && said.trim_end().ends_with(": 1"), "{said:?}");
}

#[test]
fn the_client_program_takes_no_word_for_its_own_that_is_about_another_uri_and_obeys_none() {
    let answers = |answer: fn(&Incoming) -> Message| {
        let outcome = wakering::run(async {
            let builder = Builder::new().on(Kind::CREATE_URI, move |incoming: Incoming| {
                let answer = answer(&incoming);
                async move { Some(answer) }
            });
            let server = builder.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
            let address = server.local_addr().to_string();
            let run = move || {
                Command::new(example("message_client")).args(["--addr", &address, "new", "a", "b"]).output()
            };
            wakering::spawn_blocking(run).unwrap().await.unwrap().unwrap()
        });
        let outcome = outcome.unwrap();
        (code(&outcome), String::from_utf8(outcome.stderr).unwrap())
    };
    assert_eq!(answers(|incoming| incoming.answer(Kind::OK, "")).0, 0);
    // The number is right, and alone says that it is the answer.
    let wrong: [fn(&Incoming) -> Message; 4] = [
        |incoming| incoming.answer(Kind::CONFIRM_SUBSCRIBE, ""),
        |incoming| incoming.answer(Kind::NOTIFY_URI, ""),
        |incoming| incoming.answer(Kind::DISCONNECT, ""),
        |incoming| incoming.answer(Kind::RESPOND_URI, ""),
    ];
    for answer in wrong {
        let (code, said) = answers(answer);
        assert!(code == 5 && said.contains("does not answer"), "{code}: {said}");
    }
    // What a server says that has decrypted the uri with another key.
    let (code, said) = answers(|_| Message::new(Kind::OK, "x", ""));
    assert!(code == 5 && said.contains("another uri"), "{code}: {said}");
    let (code, said) =
        answers(|_| Message::new(Kind::ERROR, "ERROR", "\x1b]0;title\x07\nmessage_client: done"));
    assert!(code == 5 && !said.trim_end().contains(char::is_control), "{code}: {said:?}");
}
