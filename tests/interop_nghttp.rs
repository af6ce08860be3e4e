//! nghttp against `examples/h2_server`: it prints every frame, and nothing in the exchange may be amiss.

mod support;

use std::time::Duration;

use support::run;
use support::served::Served;
use support::server::Server;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `nghttp -v` and gives its log, after a look for anything that is not clean.
fn clean_exchange(server: &Server, path: &str, options: &[&str]) -> String {
    let url = server.url(path);
    let mut arguments = vec!["-v", "--no-verify-peer"];
    arguments.extend(options);
    arguments.push(&url);
    let ran = run("nghttp", &arguments, LIMIT);
    let log = ran.stdout;
    assert_eq!(ran.code, Some(0), "{log}{}", ran.stderr);
    assert_eq!(ran.stderr, "", "{log}");
    for bad in ["[ERROR]", "RST_STREAM", "invalid", "timeout"] {
        assert!(!log.contains(bad), "{bad} in {log}");
    }
    for code in log.split("error_code=").skip(1) {
        assert!(code.starts_with("NO_ERROR"), "an error code in {log}");
    }
    assert!(log.contains(":status: 200"), "{log}");
    log
}

fn served() -> Option<Served> {
    Served::to("nghttp", &[])
}

/// A file with `size` bytes, named after the server so that tests do not share it.
fn upload(server: &Server, size: usize) -> String {
    let path = std::env::temp_dir().join(format!("wakering-nghttp-{}", server.pid()));
    std::fs::write(&path, vec![b'x'; size]).expect("a temporary file");
    path.display().to_string()
}

#[test]
fn a_get_is_a_clean_exchange() {
    let Some(server) = served() else { return };
    let log = clean_exchange(&server, "/", &[]);
    assert!(log.contains("Hello, World!"), "{log}");
    assert!(log.contains("recv SETTINGS frame"), "{log}");
    assert!(!log.contains("SETTINGS_ENABLE_PUSH(0x02):1]\n          [SETTINGS_ENABLE_PUSH"), "{log}");
}

#[test]
fn the_server_never_offers_to_push() {
    let Some(server) = served() else { return };
    let log = clean_exchange(&server, "/", &[]);
    let received =
        log.split("recv SETTINGS frame").nth(1).expect("settings").split("send ").next().expect("an end");
    assert!(!received.contains("ENABLE_PUSH(0x02):1"), "{received}");
}

#[test]
fn ten_requests_at_once_are_a_clean_exchange() {
    let Some(server) = served() else { return };
    let log = clean_exchange(&server, "/", &["-m", "10"]);
    assert_eq!(log.matches(":status: 200").count(), 10, "{log}");
}

#[test]
fn padding_in_both_kinds_of_frames_is_ignored() {
    let Some(server) = served() else { return };
    let file = upload(&server, 100_000);
    let log = clean_exchange(&server, "/echo", &["-n", "-b", "200", "-d", &file]);
    std::fs::remove_file(file).expect("the file is there");
    assert!(log.contains("PADDED"), "{log}");
}

#[test]
fn an_upload_beyond_the_first_window_is_a_clean_exchange() {
    let Some(server) = served() else { return };
    let file = upload(&server, 1_000_000);
    let log = clean_exchange(&server, "/echo", &["-n", "-d", &file]);
    std::fs::remove_file(file).expect("the file is there");
    assert!(log.contains("recv WINDOW_UPDATE frame"), "{log}");
}

#[test]
fn request_trailers_are_taken() {
    let Some(server) = served() else { return };
    let file = upload(&server, 1_000);
    clean_exchange(&server, "/echo", &["-d", &file, "--trailer", "x-sum: 1"]);
    std::fs::remove_file(file).expect("the file is there");
}

#[test]
fn a_client_without_a_dynamic_table_is_served() {
    let Some(server) = served() else { return };
    let log = clean_exchange(&server, "/headers", &["-c", "0", "-m", "3"]);
    assert_eq!(log.matches(":status: 200").count(), 3, "{log}");
}

#[test]
fn a_small_window_slows_but_does_not_stop_a_download() {
    let Some(server) = served() else { return };
    clean_exchange(&server, "/bytes?n=300000", &["-n", "-w", "10", "-W", "10"]);
}
