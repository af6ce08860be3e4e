//! The process as a service: sockets from systemd and from a parent, readiness, and a restart that refuses nobody.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

#[path = "../examples/support/ending.rs"]
mod ending;
#[path = "support/load.rs"]
mod load;
#[path = "../examples/support/stop.rs"]
mod stop;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixDatagram, UnixStream},
            process::CommandExt,
        },
    },
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use load::Load;
use support::{
    eventually,
    folder::Folder,
    kill_with_parent,
    peer::{Role, Row, installed, version_of},
    program, run,
    server::{Server, Signal, example},
    skip,
};
use wakering::{
    CancellationToken,
    http::client::Client,
    service::{Handover, SocketKind},
    spawn, spawn_on,
    time::timeout,
};

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// What a server answers to a GET.
fn get(address: SocketAddr, path: &str) -> String {
    let target = format!("http://{address}{path}");
    wakering::run(async move {
        let call = async {
            let response = Client::new().get(target).await.unwrap();
            response.into_body().collect(1000).await.unwrap()
        };
        String::from_utf8(timeout(LIMIT, call).await.unwrap().to_vec()).unwrap()
    })
    .unwrap()
}

/// A parent that hands standard input, and standard error if `two`, over as descriptors 3 and 4.
fn parent(two: bool, count: &str) -> Command {
    let mut command = kill_with_parent("/bin/sh");
    let second = if two { "4<&2 2>/dev/null" } else { "" };
    let script = format!(
        "exec 3<&0 </dev/null {second}; export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES=http; exec \"$0\""
    );
    command.args(["-c", &script]).arg(example("service"));
    command
}

#[test]
fn systemd_opens_the_port_and_the_first_connection_starts_the_server() {
    let peer = "systemd-socket-activate";
    let Some(activate) = installed(peer, peer, Role::Manager) else { return };
    let version = version_of(&activate, &["--version"]);
    let _row = Row::of_test(peer, Role::Manager, version.split(" (").next().unwrap_or_default().to_owned());
    for attempt in 0.. {
        // Another program may take the port between its choice and its use.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = kill_with_parent(&activate);
        command.args(["--fdname=http", "-l", &address.to_string()]).arg(example("service"));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let there =
            eventually(LIMIT, || child.try_wait().unwrap().is_some() || TcpStream::connect(address).is_ok());
        assert!(there, "nobody listens");
        let ended = child.try_wait().unwrap();
        if ended.is_none() {
            assert_eq!(get(address, "/"), child.id().to_string(), "it became the server itself");
        }
        drop(child.kill());
        drop(child.wait());
        if ended.is_none() {
            return;
        }
        assert!(attempt < 5, "it ended: {ended:?}");
    }
}

#[test]
fn a_socket_of_the_parent_is_served_and_its_queue_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It comes before there is a server.
    let early = TcpStream::connect(address).unwrap();
    let mut command = parent(false, "1");
    command.stdin(OwnedFd::from(listener));
    let server = Server::run("service", command);
    assert_eq!(server.address, address);
    assert_eq!(get(address, "/"), server.pid().to_string());
    let mut early = early;
    early.set_read_timeout(Some(LIMIT)).unwrap();
    early.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    early.read_exact(&mut [0; 9]).unwrap();
    drop(early);
    server.signal(Signal::Terminate);
    assert_eq!(server.wait(LIMIT).0.code(), Some(0));
    assert!(TcpStream::connect(address).is_err(), "nobody has the port any more");
}

#[test]
fn a_socket_of_the_wrong_kind_and_one_that_is_not_there_are_told_of() {
    let mut command = parent(false, "1");
    command.stdin(OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap()));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the inherited socket `http` is not of the kind TcpListener but Udp"), "{said}");

    let mut command = parent(false, "3");
    command.stdin(OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("take the inherited descriptor"), "{said}");
}

#[test]
fn the_service_manager_hears_of_readiness_signs_of_life_and_the_end() {
    let folder = Folder::new("svc");
    let manager = UnixDatagram::bind(folder.join("notify")).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let said = || {
        let mut buffer = [0; 1000];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = kill_with_parent(example("service"));
    command.args(["--addr", "127.0.0.1:0"]).stdin(Stdio::null());
    command.env("NOTIFY_SOCKET", folder.join("notify")).env("WATCHDOG_USEC", "100000");
    let server = Server::run("service", command);
    assert_eq!(said(), format!("MAINPID={}\nREADY=1\nSTATUS=serving\n", server.pid()));
    for _ in 0..3 {
        assert_eq!(said(), "WATCHDOG=1\n");
    }
    server.signal(Signal::Terminate);
    let mut last = said();
    while last == "WATCHDOG=1\n" {
        last = said();
    }
    assert_eq!(last, "STOPPING=1\nSTATUS=draining\n");
    assert_eq!(server.wait(LIMIT).0.code(), Some(0));
}

/// A server that takes over, and offers on, at `path`.
fn generation(path: &Path, workers: &str) -> Server {
    let path = path.to_str().unwrap();
    Server::start("service", &["--handover", path, "--workers", workers, "--grace", "60"])
}

#[test]
fn three_processes_follow_each_other_under_load_and_no_request_fails() {
    let folder = Folder::new("svc");
    let path = folder.join("handover");
    let mut current = generation(&path, "2");
    let load = Load::on(current.address);
    for _ in 0..2 {
        load.is_answered(&current.pid().to_string());
        let next = generation(&path, "2");
        assert_eq!(next.address, current.address);
        let (status, more, errors) = current.wait(LIMIT);
        assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
        assert_eq!(more, [format!("handed over to Some({})", next.pid())]);
        current = next;
    }
    load.a_hundred_more();
    assert_eq!(load.end().len(), 3, "each of the three has answered");
}

#[test]
fn a_successor_that_dies_before_it_is_ready_changes_nothing() {
    let folder = Folder::new("svc");
    let path = folder.join("handover");
    let first = generation(&path, "1");
    let mut dies = UnixStream::connect(&path).unwrap();
    dies.set_read_timeout(Some(LIMIT)).unwrap();
    dies.write_all(b"wakering handover 1\n").unwrap();
    let mut said = [0; 24];
    dies.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"sockets the meeting:http");
    drop(dies);
    let mut stranger = UnixStream::connect(&path).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stranger.set_read_timeout(Some(LIMIT)).unwrap();
    assert!(matches!(stranger.read(&mut said), Ok(0) | Err(_)), "it is told nothing");
    assert_eq!(get(first.address, "/"), first.pid().to_string());
    let second = generation(&path, "1");
    assert_eq!(get(second.address, "/"), second.pid().to_string());
    assert_eq!(first.wait(LIMIT).0.code(), Some(0));
}

#[test]
fn a_file_that_a_killed_process_left_is_replaced_and_any_other_is_not() {
    let folder = Folder::new("svc");
    let path = folder.join("handover");
    drop(generation(&path, "1")); // killed
    assert!(path.exists());
    let again = generation(&path, "1");
    assert_eq!(get(again.address, "/"), again.pid().to_string());

    let other = folder.join("notes");
    fs::write(&other, "not a socket").unwrap();
    let arguments = ["--addr", "127.0.0.1:0", "--handover", other.to_str().unwrap()];
    let ran = run(example("service").to_str().unwrap(), &arguments, LIMIT);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "not a socket");
}

#[test]
fn sockets_go_from_one_owner_to_the_next_with_their_names_and_kinds() {
    let folder = Folder::new("svc");
    let path = folder.join("handover");
    wakering::run(async {
        let mut first = Handover::at(&path).await.unwrap();
        assert!(!first.has_predecessor() && first.take("http").is_none());
        first.ready().await.unwrap();
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let refused = first.offer(&[("a:b", tcp.as_fd())]).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        let addresses = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let old = spawn(async move {
            let successor = first.offer(&[("http", tcp.as_fd()), ("dns", udp.as_fd())]).await.unwrap();
            (successor.process_id(), first)
        });
        let mut second = Handover::at(&path).await.unwrap();
        assert!(second.has_predecessor());
        let dns = second.take("dns").unwrap();
        assert_eq!((dns.name(), dns.kind()), ("dns", SocketKind::Udp));
        assert_eq!(dns.into_udp_socket().unwrap().local_addr().unwrap(), addresses.1);
        let http = second.take("http").unwrap().into_tcp_listener().unwrap();
        assert_eq!(http.local_addr().unwrap(), addresses.0);
        second.ready().await.unwrap();
        let (process, first) = timeout(LIMIT, old).await.unwrap().unwrap();
        assert!(process.is_none_or(|process| process.unsigned_abs() == std::process::id()));
        drop(first);
        // The place is the second's now.
        let offered = spawn(async move { second.offer(&[("http", http.as_fd())]).await.map(drop) });
        assert!(Handover::at(&path).await.unwrap().has_predecessor());
        offered.abort();
    })
    .unwrap();
}

#[test]
fn of_several_that_begin_at_once_one_is_first_and_the_others_follow_it() {
    const ROUNDS: usize = 20;
    const PROCESSES: usize = 4;
    let folder = Folder::new("svc");
    for round in 0..ROUNDS {
        let path = folder.join(format!("handover-{round}"));
        // Left by a process that was killed; or there never was one.
        drop((round % 2 == 0).then(|| std::os::unix::net::UnixListener::bind(&path).unwrap()));
        let (all, arrived) = (CancellationToken::new(), AtomicUsize::new(0));
        let start = std::sync::Barrier::new(PROCESSES);
        let begin = || {
            start.wait();
            let life = async {
                let mut handover = Handover::at(&path).await.unwrap();
                let first = !handover.has_predecessor();
                if arrived.fetch_add(1, Relaxed) + 1 == PROCESSES {
                    all.cancel();
                }
                handover.ready().await.unwrap();
                // Until somebody takes over, or all have come.
                all.run_until_cancelled(handover.offer(&[])).await.transpose().unwrap();
                first
            };
            wakering::run(async { timeout(LIMIT, life).await.unwrap() }).unwrap()
        };
        let firsts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(begin)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(firsts, 1, "round {round}");
    }
}

#[test]
fn sockets_are_not_taken_from_somebody_else() {
    let Some(other) = program("systemd-socket-activate") else { return };
    let folder = Folder::new("svc");
    let (shared, path) = (folder.join("shared"), folder.join("shared/handover"));
    fs::create_dir(&shared).unwrap();
    // Anybody may make files there: what a service's folder must not be.
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(other);
    command.arg("--listen").arg(&path).args(["sleep", "60"]).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut squatter) = command.uid(65534).gid(65534).spawn() else {
        return skip("only root can have a process of another user");
    };
    let listens = eventually(LIMIT, || UnixStream::connect(&path).is_ok());
    let outcome = wakering::run(async { Handover::at(&path).await.map(drop) }).unwrap();
    squatter.kill().unwrap();
    squatter.wait().unwrap();
    assert!(listens);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("of user 65534"), "{error}");
}

#[test]
fn a_worker_that_fails_ends_the_others_and_is_told_of_whichever_it_is() {
    for failing in 0..2 {
        let runtime = wakering::Runtime::builder().workers(2).build().unwrap();
        let ended = std::sync::Arc::new(AtomicUsize::new(0));
        let outcome = runtime.block_on(async {
            let token = CancellationToken::new();
            let workers = (0..2).map(|worker| {
                let (token, ended) = (token.clone(), ended.clone());
                spawn_on(worker, move || async move {
                    if worker == failing {
                        return Err(std::io::Error::other("no more"));
                    }
                    token.cancelled().await;
                    ended.fetch_add(1, Relaxed);
                    Ok(())
                })
                .unwrap()
            });
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            timeout(LIMIT, stop::serve(address, token.clone(), workers.collect())).await.unwrap()
        });
        assert_eq!(outcome.unwrap().unwrap_err().to_string(), "no more");
        assert_eq!(ended.load(Relaxed), 1, "the other one has ended in good order");
    }
}
