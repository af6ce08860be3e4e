//! Proxies that speak TLS with our server, and check its certificate.

use std::path::Path;

use crate::{
    Secured,
    daemon::{self, Daemon, Folder},
    exercise::{Lacks, NOTHING, Target, exchanges},
    support::{
        peer::{Peer, Role, Row, installed, python, stop},
        served,
    },
};

/// Our client asks our server through a proxy.
fn meet_through(mut daemon: Daemon, lacks: Lacks) {
    let address = daemon.address.clone();
    wakering::run(async {
        // As without TLS, in `interop_proxies`.
        let target = Target::with_wide_windows(&address).await.unwrap();
        exchanges(&mut daemon.peer.row, &target, lacks).await;
    })
    .unwrap();
    daemon.peer.judge();
}

#[test]
fn our_server_and_our_client_meet_through_haproxy() {
    for (peer, protocol) in [("haproxy, TLS", "h2"), ("haproxy, HTTP/1.1, TLS", "http/1.1")] {
        let Some(program) = installed("haproxy", peer, Role::Proxy) else { continue };
        let secured = Secured::start(&[]);
        let line = format!(
            "server ours {} ssl verify required ca-file {} sni str(localhost) verifyhost localhost alpn {protocol}",
            secured.server.address,
            secured.authority()
        );
        let configure =
            |folder: &Folder, port: u16| daemon::haproxy(folder, port, "option http-no-delay", &line);
        let lacks = Lacks {
            expect_continue: Some("it ends the answer after its head when 100 and 200 come in one read"),
            ..NOTHING
        };
        meet_through(Daemon::start(peer, Role::Proxy, &program, "-v", configure), lacks);
    }
}

/// What nginx is to know of the certificate.
fn trust(secured: &Secured, module: &str) -> String {
    format!(
        "{module}_ssl_verify on; {module}_ssl_trusted_certificate {}; {module}_ssl_name localhost; \
         {module}_ssl_server_name on; {module}_ssl_protocols TLSv1.2 TLSv1.3;",
        secured.authority()
    )
}

#[test]
fn our_server_and_our_client_meet_through_nginx() {
    let peer = "nginx, HTTP/1.1, TLS";
    let Some(program) = installed("nginx", peer, Role::Proxy) else { return };
    let secured = Secured::start(&[]);
    let (trust, address) = (trust(&secured, "proxy"), secured.server.address);
    let configure = |folder: &Folder, port: u16| {
        let text = format!(
            "upstream behind {{ server {address}; keepalive 16; }}
             server {{
                 listen 127.0.0.1:{port} http2;
                 location / {{
                     proxy_pass https://behind; proxy_http_version 1.1; proxy_set_header Connection \"\"; {trust}
                 }}
             }}"
        );
        daemon::nginx(folder, "", &text)
    };
    let lacks = Lacks {
        trailers: Some("it ends the connection of who sends some"),
        expect_continue: Some("it passes none on over HTTP/2"),
        early_hints: Some("before 1.29 it takes 103 for the answer"),
        duplex: Some("it may stop sending content when the answer has begun, with other servers too"),
        ..NOTHING
    };
    meet_through(Daemon::start(peer, Role::Proxy, &program, "-v", configure), lacks);
}

#[test]
fn grpc_goes_through_nginx() {
    let peer = "nginx, TLS";
    let Some(program) = installed("nginx", peer, Role::GrpcProxy) else { return };
    let Some(python) = python("grpc", peer, Role::GrpcProxy) else { return };
    let secured = Secured::by("grpc_echo", &["--grace", "30"]);
    let (trust, address) = (trust(&secured, "grpc"), secured.server.address);
    let configure = |folder: &Folder, port: u16| {
        let text = format!(
            "server {{
                 listen 127.0.0.1:{port} http2;
                 location / {{ grpc_pass grpcs://{address}; grpc_read_timeout 60s; {trust} }}
             }}"
        );
        daemon::nginx(folder, "", &text)
    };
    let daemon = Daemon::start(peer, Role::GrpcProxy, &program, "-v", configure);
    let mut row = Row::new(peer, Role::GrpcProxy);
    row.version(daemon.peer.row.known_version());
    let mut line = served::line("client_grpc.py", &[&daemon.address]);
    line.push("proxied".into());
    Peer::start(row, Path::new(&python), &line).follow(crate::LIMIT, || stop(&secured.server));
}
