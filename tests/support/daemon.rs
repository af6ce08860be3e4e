//! Servers that are installed as programs: each with a folder of files and a configuration of its own, on a free port.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::exercise::{TEN_MIB, pattern};
use crate::support::folder;
use crate::support::peer::{Peer, Role, Row, version_of};

/// Another program may take the port between its choice and its use.
const TRIES: usize = 5;

/// A temporary folder with `hello`, which has 13 bytes, and `ten`, which has 10 MiB.
pub(crate) struct Folder(folder::Folder);

impl Folder {
    fn new(name: &str, port: u16) -> Folder {
        let word = name.split(',').next().unwrap_or_default();
        let path = folder::Folder::new(&format!("{word}-{port}"));
        fs::write(path.join("hello"), "Hello, World!").expect("a file");
        fs::write(path.join("ten"), pattern(TEN_MIB)).expect("a file");
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a configuration; in its text, `FOLDER` is this folder.
    pub(crate) fn configure(&self, text: &str) -> OsString {
        let path = self.0.join("configuration");
        fs::write(&path, text.replace("FOLDER", &self.0.display().to_string())).expect("a file");
        path.into()
    }
}

/// The arguments of an nginx of this configuration, beside what it says for `http`.
pub(crate) fn nginx(folder: &Folder, outside: &str, http: &str) -> Vec<OsString> {
    // One process, which ends with the test even when that is killed.
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds.iter().map(|kind| format!("{kind}_temp_path FOLDER/{kind};\n")).collect();
    let text = format!(
        "{outside}
         daemon off; master_process off; error_log stderr error; pid FOLDER/pid;
         events {{}}
         http {{
             access_log off; client_max_body_size 100m;
             {temporary}
             {http}
         }}"
    );
    vec!["-e".into(), "stderr".into(), "-c".into(), folder.configure(&text)]
}

/// The arguments of a haproxy with HTTP/2 in front, whose servers are `servers`; `more` stands in the defaults.
pub(crate) fn haproxy(folder: &Folder, port: u16, more: &str, servers: &str) -> Vec<OsString> {
    let text = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n {more}\n\
         frontend before\n bind 127.0.0.1:{port} proto h2\n default_backend behind\n\
         backend behind\n balance roundrobin\n {servers}\n"
    );
    vec!["-db".into(), "-f".into(), folder.configure(&text)]
}

pub(crate) struct Daemon {
    pub(crate) peer: Peer,
    pub(crate) address: String,
    _folder: Folder,
}

impl Daemon {
    /// Starts `program`; `configure` gives its arguments for a folder and a port.
    pub(crate) fn start(
        name: &'static str,
        role: Role,
        program: &Path,
        version: &str,
        configure: impl Fn(&Folder, u16) -> Vec<OsString>,
    ) -> Daemon {
        let version = version_of(program, &[version]);
        for _ in 0..TRIES {
            let port = free_port();
            let folder = Folder::new(name, port);
            let mut row = Row::new(name, role);
            row.version(version.split(" 202").next().unwrap_or_default().trim_end_matches(" 20"));
            let mut peer = Peer::start(row, program, &configure(&folder, port));
            let address = format!("127.0.0.1:{port}");
            if peer.reached(&address) {
                return Daemon { peer, address, _folder: folder };
            }
        }
        panic!("{name} does not listen on any of {TRIES} ports");
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: the program of that name is not installed everywhere.
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} cannot be sent");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
