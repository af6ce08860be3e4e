//! The page in a real browser: Chromium, headless, over HTTP/1.1.

use std::{net::SocketAddr, path::Path, sync::mpsc, thread, time::Duration};

use wakering::{
    console,
    http::{Body, Request, Response, Server, ServerHandle},
    net::TcpListener,
    spawn_named,
};

use crate::{
    LIMIT, loopback,
    support::{
        peer::{Role, Row, skip_row, version_of},
        run,
    },
};

/// Debian's name for it, and others'.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A console on a thread of its own: what the test starts dies with the test's thread. Gives the console's address, and the
/// server whose end is its end.
fn console_beside() -> (SocketAddr, ServerHandle, thread::JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        wakering::run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server =
                Server::start(listener, |_: Request<Body>| async { Response::new(Body::from("hello")) })
                    .unwrap();
            let console =
                console::builder().server("<b>hello</b>", server.meters()).serve(loopback()).unwrap();
            let waiter = spawn_named("<i>waiter</i>", std::future::pending::<()>());
            sender.send((console.local_addr(), server.handle())).unwrap();
            server.handle().closed().await.unwrap();
            waiter.abort();
            console.stop(Duration::ZERO).await;
        })
        .unwrap();
    });
    let (address, server) = receiver.recv_timeout(LIMIT).unwrap();
    (address, server, thread)
}

fn browser() -> Option<&'static str> {
    let path = std::env::var_os("PATH")?;
    BROWSERS.into_iter().find(|name| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// What the page has become after some looks, as HTML, and what the browser said of it.
fn page_after_looks(browser: &str, folder: &Path, url: &str, more: &[&str]) -> (String, String) {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let mut line = vec![
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
    ];
    line.extend(["--virtual-time-budget=20000", profile.as_str()]);
    line.extend(more);
    line.push(url);
    let ran = run(browser, &line, 2 * LIMIT);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    (ran.stdout, ran.stderr)
}

#[test]
fn chromium_shows_the_page_and_finds_nothing_to_complain_of() {
    let Some(browser) = browser() else {
        return skip_row("Chromium, HTTP/1.1", Role::Client, "it is not installed");
    };
    let (address, server, thread) = console_beside();
    let url = format!("http://{address}/");
    let folder = std::env::temp_dir().join(format!("wk-browser-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();

    let (page, said) = page_after_looks(browser, &folder, &url, &["--dump-dom"]);
    assert!(!said.contains(":CONSOLE"), "the page's script or the policy complains: {said}");
    assert!(page.contains("data-looks=\""), "it has looked at the process: {page}");
    assert!(page.contains("&lt;i&gt;waiter&lt;/i&gt;") && page.contains("for something external"), "{page}");
    assert!(
        page.contains("&lt;b&gt;hello&lt;/b&gt;") && !page.contains("<b>"),
        "names are text and nothing else"
    );
    assert!(page.contains("<td>answers</td>"), "{page}");

    let shot = folder.join("page.png");
    let screenshot = format!("--screenshot={}", shot.display());
    page_after_looks(browser, &folder, &url, &[screenshot.as_str(), "--window-size=1280,1500"]);
    let picture = std::fs::read(&shot).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{} bytes", picture.len());

    let version = version_of(browser.as_ref(), &["--version"]);
    let version = version.split(" built on").next().unwrap_or_default().to_owned();
    drop(Row::of_test("Chromium, HTTP/1.1", Role::Client, version));
    drop(server.shutdown(Duration::ZERO));
    thread.join().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}
