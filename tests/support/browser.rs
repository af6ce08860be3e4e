//! Chromium, headless, at a page of ours: what it fetches, sends and styles is told in the page, and so is the protocol.

use std::{fs, time::Duration};

use wakering::http::{Body, Builder, Request, Response, header};

use crate::{
    serving::Serving,
    support::{
        peer::{Role, Row, installed, version_of},
        run,
    },
};

const LIMIT: Duration = Duration::from_secs(150);

const PAGE: &str = "<!doctype html><title>A page</title><link rel=stylesheet href=style.css>
<p id=out>nothing yet</p><script type=module src=script.js></script>";
const STYLE: &str = "p { color: rgb(1, 2, 3) }";
const SCRIPT: &str = "
const found = await Promise.all([...Array(30).keys()].map(async (n) => (await fetch(`/number?${n}`)).text()));
const sent = 'x'.repeat(300000);
const back = await (await fetch('/echo', { method: 'POST', body: sent })).text();
const colour = getComputedStyle(document.getElementById('out')).color;
const protocols = new Set(performance.getEntriesByType('resource').map((entry) => entry.nextHopProtocol));
document.getElementById('out').textContent =
    `${found.length} answers, sum ${found.reduce((sum, text) => sum + Number(text), 0)}, ` +
    `echo ${back === sent}, ${colour}, by ${[...protocols]}`;
";

async fn page(request: Request<Body>) -> Response<Body> {
    let (kind, text) = match request.uri().path() {
        "/" => ("text/html", PAGE.to_owned()),
        "/style.css" => ("text/css", STYLE.to_owned()),
        "/script.js" => ("text/javascript", SCRIPT.to_owned()),
        "/number" => ("text/plain", request.uri().query().unwrap_or_default().to_owned()),
        "/echo" => return Response::new(request.into_body()),
        _ => ("text/plain", String::new()),
    };
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, kind.parse().expect("a value"));
    response
}

/// Has Chromium show the page of a server of `builder`, which it must fetch by `protocol`, as browsers call it.
pub(crate) fn shows_a_page(peer: &'static str, builder: Builder, scheme: &str, protocol: &str) {
    let Some(program) = installed("chromium", peer, Role::Client) else { return };
    let version = version_of(&program, &["--version"]);
    let version = version.split(" built on").next().unwrap_or_default().to_owned();
    let _row = Row::of_test(peer, Role::Client, version);
    let server = Serving::start(builder, || page);
    let port = server.address.port();
    let folder = std::env::temp_dir().join(format!("wakering-chromium-{}-{port}", std::process::id()));
    let arguments = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        // The authority is made for this test: chromium knows it no way but in its own store.
        "--ignore-certificate-errors".to_owned(),
        "--virtual-time-budget=60000".to_owned(),
        format!("--user-data-dir={}", folder.display()),
        "--dump-dom".to_owned(),
        format!("{scheme}://localhost:{port}/"),
    ];
    let ran = run(&program.display().to_string(), &arguments, LIMIT);
    drop(fs::remove_dir_all(&folder));
    let expected = format!("30 answers, sum 435, echo true, rgb(1, 2, 3), by {protocol}");
    assert!(ran.stdout.contains(&expected), "{}\n{}", ran.stdout, ran.stderr);
    let _ = server.stop(Duration::from_secs(10));
}
