//! The rules, each a function from one file to the faults found in it.

use super::manifest::Manifest;
use super::scan::{Token, root_segments, segments_of, tokens};

/// A file by its path from the crate's root, with its text.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A top-level module: its floor, whom it may reach on its own floor, and whom it may not reach below.
pub(crate) struct Room {
    name: &'static str,
    floor: u8,
    beside: &'static [&'static str],
    barred: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    room_at("ring", 0, &["sync"]),
    room_at("slab", 0, &[]),
    room_at("clock", 0, &["slab"]),
    room_at("sync", 0, &[]),
    room_at("contain", 0, &[]),
    room_at("limits", 0, &[]),
    room_at("error", 0, &[]),
    room_at("trace", 0, &["contain"]),
    room_at("sys", 1, &[]),
    // Pure: bytes and time are its arguments.
    Room { name: "proto", floor: 1, beside: &[], barred: &["clock", "ring", "sync"] },
    room_at("wake", 2, &[]),
    // Stores wakers, never sees a task.
    room_at("reactor", 2, &[]),
    // Never sees a descriptor.
    Room { name: "task", floor: 2, beside: &["wake"], barred: &["sys", "proto"] },
    // The runtime owns the blocking pool.
    room_at("worker", 3, &["blocking"]),
    room_at("blocking", 3, &[]),
    room_at("net", 4, &[]),
    room_at("channel", 4, &[]),
    room_at("time", 4, &[]),
    // Around streams.
    room_at("tls", 4, &["net", "time"]),
    // Waits on a pipe as sockets wait.
    room_at("signal", 4, &["net"]),
    // For tests of what is built on the rest; nothing here uses it.
    room_at("testing", 5, &[]),
    room_at("http", 5, &[]),
    room_at("message", 5, &[]),
    room_at("service", 5, &[]),
    // Other people's traits over all of it.
    room_at("adapters", 6, &[]),
    room_at("console", 6, &[]),
];

/// What every floor may use.
const EVERYWHERE: &[&str] = &["error", "limits", "trace"];

const fn room_at(name: &'static str, floor: u8, beside: &'static [&'static str]) -> Room {
    Room { name, floor, beside, barred: &[] }
}

/// The module's place in the house.
pub(crate) fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// The modules that a file declares outside any block.
pub(crate) fn modules(file: &File) -> Vec<String> {
    let (tokens, mut depth, mut found) = (tokens(&file.text), 0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "mod" if depth == 0 => found.extend(tokens.get(at + 1).map(|name| name.text.clone())),
            _ => {}
        }
    }
    found
}

/// The module path of a source file below `src/`; empty for `lib.rs`. `x_tests.rs` is the module `tests` of `x`.
fn module_path(path: &str) -> Vec<&str> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = inner.trim_end_matches("_tests").split('/').filter(|part| !["mod", "lib"].contains(part));
    parts.chain(inner.ends_with("_tests").then_some("tests")).collect()
}

/// A module reaches only lower floors, its named neighbours and what is for everyone.
pub(crate) fn floors(file: &File) -> Vec<String> {
    let path = module_path(&file.path);
    let Some(home) = path.first() else { return Vec::new() };
    let Some(from) = room(home) else { return vec![format!("{}: module `{home}` has no floor", file.path)] };
    let mut faults = Vec::new();
    for (line, name) in root_segments(&tokens(&file.text), path.len()) {
        let fault = match room(&name) {
            _ if name == from.name || EVERYWHERE.contains(&name.as_str()) => continue,
            None => format!("`crate::{name}` is on no floor: name the module that holds it"),
            Some(to) if from.barred.contains(&to.name) => format!("`{}` must not see `{name}`", from.name),
            Some(to) if to.floor < from.floor || from.beside.contains(&to.name) => continue,
            Some(to) => {
                format!("`{}` (floor {}) reaches `{name}` (floor {})", from.name, from.floor, to.floor)
            }
        };
        faults.push(at(file, line, &fault));
    }
    faults
}

/// No input, output or clock in `proto`; no descriptor in `task`.
pub(crate) fn purity(file: &File) -> Vec<String> {
    let (words, roots): (&[&str], &[&str]) = match module_path(&file.path).first() {
        Some(&"proto") => (
            &["Instant", "SystemTime", "OwnedFd", "BorrowedFd", "RawFd", "unsafe"],
            &["net", "os", "fs", "thread", "process", "env"],
        ),
        Some(&"task") => {
            (&["OwnedFd", "BorrowedFd", "RawFd", "AsFd", "AsRawFd", "TcpStream"], &["net", "os", "fs"])
        }
        _ => return Vec::new(),
    };
    let tokens = tokens(&file.text);
    let of_std = segments_of(&tokens, "std").into_iter().filter(|(_, name)| roots.contains(&name.as_str()));
    let mut faults: Vec<String> =
        of_std.map(|(line, name)| at(file, line, &format!("`std::{name}` in a pure module"))).collect();
    let named = tokens.iter().filter(|token| words.contains(&token.text.as_str()));
    faults.extend(named.map(|token| at(file, token.line, &format!("`{}` in a pure module", token.text))));
    if file.path == "src/proto/mod.rs" && !file.text.contains("forbid(unsafe_code)") {
        faults.push(format!("{}: does not forbid unsafe code", file.path));
    }
    faults
}

/// 800 lines, or 450 where `unsafe` lives.
pub(crate) fn cap(file: &File) -> Vec<String> {
    let holds_unsafe = file.path.ends_with(".rs") && has_word(&tokens(&file.text), "unsafe");
    let (cap, lines) = (if holds_unsafe { 450 } else { 800 }, file.text.lines().count());
    if lines > cap { vec![format!("{}: {lines} lines, the cap is {cap}", file.path)] } else { Vec::new() }
}

/// `unsafe` in three rooms, `libc::` in one.
pub(crate) fn rooms(file: &File) -> Vec<String> {
    let path = module_path(&file.path);
    let home = path.first().copied().unwrap_or("lib");
    let mut faults = Vec::new();
    for token in tokens(&file.text) {
        let fault = match token.text.as_str() {
            "unsafe" if !["ring", "sys", "task"].contains(&home) => "`unsafe` outside ring, sys and task",
            "libc" if home != "sys" => "`libc` outside sys",
            _ => continue,
        };
        faults.push(at(file, token.line, fault));
    }
    faults
}

/// No tabs, no blank at a line's end, no unfinished work, no name of the machine where it was written.
pub(crate) fn marks(file: &File) -> Vec<String> {
    // Spelled in two halves so that this file passes its own rule.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("HA", "CK"),
        concat!("WI", "P"),
    ];
    let macros = [concat!("to", "do!"), concat!("unimpl", "emented!")];
    let places = [concat!("/wo", "rk/"), concat!("../sha", "red"), concat!("/tmp/", "plan")];
    let mut faults = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let fault = if line.contains('\t') {
            "a tab"
        } else if line.ends_with(' ') {
            "a blank at the end of the line"
        } else if words.any(|word| marks.contains(&word)) || macros.iter().any(|name| line.contains(name)) {
            "an unfinished mark"
        } else if places.iter().any(|place| line.contains(place)) {
            "a path of one machine"
        } else {
            continue;
        };
        faults.push(at(file, number + 1, fault));
    }
    faults
}

/// No lint is allowed away (`expect` with a reason is the way), no test ignored.
pub(crate) fn attributes(file: &File) -> Vec<String> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let tokens = tokens(&file.text);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut faults = Vec::new();
    for start in 0..tokens.len() {
        let open = start + if text(start + 1) == "!" { 2 } else { 1 };
        if text(start) != "#" || text(open) != "[" {
            continue;
        }
        let inner = attribute(&tokens[open..]);
        let hidden = inner.first().is_some_and(|head| head.text == "cfg_attr");
        for (place, token) in inner.iter().enumerate().filter(|(place, _)| *place == 0 || hidden) {
            let next = inner.get(place + 1).map_or("", |token| token.text.as_str());
            if token.text == "allow" && next == "("
                || token.text == "ignore" && ["", ",", "=", ")"].contains(&next)
            {
                faults.push(at(file, token.line, &format!("`#[{}]`", token.text)));
            }
            if token.text == "expect" && next == "(" && !inner.iter().any(|token| token.text == "reason") {
                faults.push(at(file, token.line, "`#[expect]` without a reason"));
            }
        }
    }
    faults
}

/// No `let` chains: they came with Rust 1.88, and a newer compiler does not warn of them.
pub(crate) fn let_chains(file: &File) -> Vec<String> {
    let tokens = if file.path.ends_with(".rs") { tokens(&file.text) } else { Vec::new() };
    let mut faults = Vec::new();
    for (at, token) in
        tokens.iter().enumerate().filter(|(_, token)| ["if", "while"].contains(&token.text.as_str()))
    {
        let (mut depth, mut has_let, mut chained, mut last) = (0, false, false, "");
        for token in &tokens[at + 1..] {
            match token.text.as_str() {
                "{" | "=>" | ";" if depth == 0 => break,
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                "let" if depth == 0 => has_let = true,
                "&" if depth == 0 && last == "&" => chained = true,
                _ => {}
            }
            if depth < 0 {
                break;
            }
            last = &token.text;
        }
        if has_let && chained {
            faults.push(self::at(file, token.line, "a `let` chain needs Rust 1.88"));
        }
    }
    faults
}

/// The tokens between an attribute's brackets; `tokens` begins with the opening one.
fn attribute(tokens: &[Token]) -> &[Token] {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &tokens[1..at];
        }
    }
    &tokens[1..]
}

/// A source file begins with `//!`.
pub(crate) fn header(file: &File) -> Vec<String> {
    let starts = file.text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
    if file.path.ends_with(".rs") && !starts.is_some_and(|line| line.starts_with("//!")) {
        return vec![format!("{}: no `//!` header", file.path)];
    }
    Vec::new()
}

/// An example that names an optional crate or a feature says so in the manifest, unless it says what it does without: a
/// feature that is asked for as `not(feature = …)`, too. What lies in `support/` is for the examples that include it.
pub(crate) fn example(file: &File, manifest: &Manifest) -> Vec<String> {
    let Some(name) = file.path.strip_prefix("examples/").and_then(|rest| rest.strip_suffix(".rs")) else {
        return Vec::new();
    };
    if name.starts_with("support/") {
        return Vec::new();
    }
    let declared: Vec<String> = manifest
        .examples()
        .into_iter()
        .filter(|example| example.name == name)
        .flat_map(|example| example.required_features)
        .collect();
    let tokens = tokens(&file.text);
    let mut faults = Vec::new();
    for optional in manifest.optional_crates().iter().filter(|optional| has_word(&tokens, optional)) {
        let features = manifest.features_with(optional);
        let own = manifest.entries("dev-dependencies").any(|(key, _)| key.replace('-', "_") == **optional);
        if !own && !features.iter().any(|feature| declared.contains(feature)) {
            faults.push(format!(
                "{}: uses `{optional}`, required-features lacks one of {features:?}",
                file.path
            ));
        }
    }
    let asks = tokens.windows(2).any(|pair| pair[0].text == "feature" && pair[1].text == "=");
    let does_without = tokens.windows(3).any(|it| it[0].text == "not" && it[2].text == "feature");
    if declared.is_empty() && asks && !does_without {
        faults.push(format!("{}: asks for a feature that the manifest does not require", file.path));
    }
    faults
}

fn has_word(tokens: &[Token], word: &str) -> bool {
    tokens.iter().any(|token| token.text == word)
}

fn at(file: &File, line: usize, fault: &str) -> String {
    format!("{}:{line}: {fault}", file.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn faults(rule: fn(&File) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&file(path, text)).len()
    }

    #[test]
    fn an_import_that_goes_up_or_sideways_is_a_fault() {
        assert_eq!(faults(floors, "src/sys/epoll.rs", "use crate::wake::Entry;"), 1);
        assert_eq!(faults(floors, "src/net/tcp.rs", "use crate::{sys, time, worker};"), 1);
        assert_eq!(faults(floors, "src/reactor/mod.rs", "fn f() { crate::task::poll(); }"), 1);
        assert_eq!(faults(floors, "src/task/mod.rs", "use crate::sys::Bell;"), 1);
        assert_eq!(faults(floors, "src/proto/h2/frame.rs", "use crate::clock::Clock;"), 1);
        assert_eq!(faults(floors, "src/proto/h2/frame.rs", "use super::super::super::sys;"), 1);
        assert_eq!(faults(floors, "src/slab.rs", "use crate::JoinHandle;"), 1);
        assert_eq!(faults(floors, "src/attic.rs", ""), 1);
    }

    #[test]
    fn an_import_that_goes_down_is_none() {
        assert_eq!(
            faults(floors, "src/task/mod.rs", "use crate::{error, limits, ring, task::slot, trace, wake};"),
            0
        );
        assert_eq!(
            faults(
                floors,
                "src/http/server.rs",
                "use crate::net; // crate::message\nlet x = \"crate::message\";"
            ),
            0
        );
        assert_eq!(faults(floors, "src/slab.rs", "pub(crate) fn f() {} mod tests { use super::*; }"), 0);
        assert_eq!(faults(floors, "src/proto/h2/frame.rs", "use super::super::h1; use super::error;"), 0);
    }

    #[test]
    fn neighbours_never_form_a_circle() {
        for room in ROOMS {
            for name in room.beside {
                let other = super::room(name).expect("a neighbour that exists");
                assert_eq!(other.floor, room.floor);
                assert!(other.beside.is_empty(), "{name} has neighbours of its own");
            }
        }
    }

    #[test]
    fn input_output_and_clocks_are_faults_in_the_core() {
        assert_eq!(
            faults(purity, "src/proto/h2/connection.rs", "use std::{net::TcpStream, time::Instant};"),
            2
        );
        assert_eq!(faults(purity, "src/proto/mod.rs", "unsafe { f() }"), 2);
        assert_eq!(faults(purity, "src/task/slot.rs", "use std::os::fd::OwnedFd;"), 2);
        let pure = "#![forbid(unsafe_code)] use std::{io::IoSlice, time::Duration};";
        assert_eq!(faults(purity, "src/proto/mod.rs", pure), 0);
        assert_eq!(faults(purity, "src/net/tcp.rs", "use std::net::TcpStream;"), 0);
    }

    #[test]
    fn a_file_that_is_too_long_is_a_fault() {
        assert_eq!(faults(cap, "src/a.rs", &"x\n".repeat(801)), 1);
        assert_eq!(faults(cap, "src/a.rs", &"x\n".repeat(800)), 0);
        assert_eq!(faults(cap, "src/a.rs", &format!("unsafe {{}}\n{}", "x\n".repeat(450))), 1);
        assert_eq!(faults(cap, "src/a.rs", &format!("// unsafe\n{}", "x\n".repeat(450))), 0);
    }

    #[test]
    fn unsafe_and_libc_outside_their_rooms_are_faults() {
        assert_eq!(faults(rooms, "src/wake/mod.rs", "unsafe impl Send for X {}"), 1);
        assert_eq!(faults(rooms, "src/lib.rs", "use libc::c_int;"), 1);
        assert_eq!(faults(rooms, "src/task/slot.rs", "unsafe { f() } // libc::x"), 0);
        assert_eq!(faults(rooms, "src/sys/call.rs", "unsafe { libc::close(1) };"), 0);
        assert_eq!(faults(rooms, "src/wake/mod.rs", "#![forbid(unsafe_code)] \"unsafe\""), 0);
    }

    #[test]
    fn marks_tabs_and_machine_paths_are_faults() {
        assert_eq!(faults(marks, "a.md", concat!("one\n\ttwo\n// TO", "DO: three\nend \n")), 3);
        assert_eq!(faults(marks, "a.rs", concat!("see /wo", "rk/x\nto", "do!()")), 2);
        assert_eq!(faults(marks, "a.rs", "let todos = hacks;"), 0);
    }

    #[test]
    fn silenced_lints_and_ignored_tests_are_faults() {
        assert_eq!(faults(attributes, "a.rs", "#![allow(dead_code)]\n#[ignore]\n#[ignore = \"slow\"]"), 3);
        assert_eq!(faults(attributes, "a.rs", "#[cfg_attr(test, allow(x))] #[cfg_attr(miri, ignore)]"), 2);
        assert_eq!(faults(attributes, "a.rs", "#[expect(dead_code)]"), 1);
        assert_eq!(
            faults(attributes, "a.rs", "#[expect(dead_code, reason = \"r\")] // #[allow(x)]\nfn allow() {}"),
            0
        );
    }

    #[test]
    fn a_let_chain_is_a_fault() {
        assert_eq!(faults(let_chains, "a.rs", "if let Some(x) = y && x {}"), 1);
        assert_eq!(faults(let_chains, "a.rs", "while a && let Some(x) = f(|| { b }) {}"), 1);
        assert_eq!(
            faults(let_chains, "a.rs", "if let Some(x) = f(a && b) { c && d; } if a && b { let x = 1; }"),
            0
        );
    }

    #[test]
    fn only_modules_outside_blocks_are_top_level() {
        let lib = file("src/lib.rs", "mod a; pub mod b; pub mod internals { pub mod c {} } mod d {}");
        assert_eq!(modules(&lib), ["a", "b", "internals", "d"]);
    }

    #[test]
    fn a_file_without_a_header_is_a_fault() {
        assert_eq!(faults(header, "src/a.rs", "use std::io;"), 1);
        assert_eq!(faults(header, "src/a.rs", "//! What it is for.\nuse std::io;"), 0);
    }

    #[test]
    fn an_example_that_hides_its_needs_is_a_fault() {
        let text = concat!(
            "[features]\nio = [\"dep:futures-io\"]\n[dependencies]\nfutures-io = { version = \"0\", optional = true }\n",
            "[[example]]\nname = \"open\"\nrequired-features = [\"io\"]\n",
        );
        let manifest = Manifest::parse(text);
        assert_eq!(example(&file("examples/closed.rs", "use futures_io::AsyncRead;"), &manifest).len(), 1);
        assert_eq!(
            example(&file("examples/closed.rs", "#[cfg(feature = \"io\")] fn f() {}"), &manifest).len(),
            1
        );
        assert_eq!(example(&file("examples/open.rs", "use futures_io::AsyncRead;"), &manifest).len(), 0);
        assert_eq!(example(&file("examples/plain.rs", "fn main() {}"), &manifest).len(), 0);
    }
}
