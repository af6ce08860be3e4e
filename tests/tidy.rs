//! The rules of the house that a program can check: who may import whom, how long a file may grow, where
//! `unsafe` and `libc::` may live, and what must not stand in the tree at all.
//!
//! Each rule is a pure function from a file to its faults, so that the tests at the end can show that it
//! is able to fail. `ARCHITECTURE.md` draws the same floors.

#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/map.rs"]
mod map;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use manifest::{Manifest, strings};
use rules::File;

#[test]
fn imports_go_down_the_floors() {
    expect_none(sources(), rules::floors);
}

#[test]
fn the_protocol_core_is_pure() {
    expect_none(sources(), rules::purity);
}

#[test]
fn files_stay_under_their_caps() {
    expect_none(all_files(), rules::cap);
}

#[test]
fn unsafe_and_libc_stay_in_their_rooms() {
    expect_none(sources(), rules::rooms);
}

#[test]
fn nothing_is_silenced_ignored_or_unfinished() {
    expect_none(all_files(), rules::marks);
    expect_none(all_files(), rules::attributes);
}

#[test]
fn the_oldest_supported_rust_can_read_it() {
    expect_none(all_files(), rules::let_chains);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    expect_none(all_files(), rules::header);
}

#[test]
fn every_top_level_module_has_a_floor() {
    let lib = read("src/lib.rs");
    let unknown: Vec<String> = rules::modules(&lib)
        .into_iter()
        .filter(|name| rules::room(name).is_none() && name != "internals")
        .collect();
    assert!(unknown.is_empty(), "modules without a floor: {unknown:?}");
}

#[test]
fn the_changelog_knows_the_version() {
    let manifest = Manifest::parse(&read("Cargo.toml").text);
    let version = strings(manifest.get("package", "version").expect("a version")).concat();
    let heading = format!("## {version}");
    assert!(
        read("CHANGELOG.md")
            .text
            .lines()
            .any(|line| line == heading || line.starts_with(&format!("{heading} "))),
        "CHANGELOG.md has no section {heading}"
    );
}

#[test]
fn no_feature_is_on_by_default() {
    let manifest = Manifest::parse(&read("Cargo.toml").text);
    assert_eq!(manifest.get("features", "default"), Some("[]"));
}

#[test]
fn examples_declare_the_features_that_they_need() {
    let manifest = Manifest::parse(&read("Cargo.toml").text);
    expect_none(all_files(), |file| rules::example(file, &manifest));
}

#[test]
fn every_row_of_the_rfc_maps_has_its_proof() {
    for page in ["docs/h1-rfc-map.md", "docs/h2-rfc-map.md"] {
        let text = read(page).text;
        let lookup = |path: &str| fs::read_to_string(root().join(path)).ok();
        let faults = map::faults(&text, &lookup);
        assert!(faults.is_empty(), "{page}: {} faults:\n{}", faults.len(), faults.join("\n"));
    }
}

#[test]
fn every_hard_bug_has_its_test_or_a_reason() {
    let page = read("docs/hard-bugs.md");
    let lookup = |path: &str| fs::read_to_string(root().join(path)).ok();
    let faults = map::bugs(&page.text, &[82, 16, 15], &lookup);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_fault_of_the_message_package_has_its_test() {
    let page = read("docs/message-map.md");
    let lookup = |path: &str| fs::read_to_string(root().join(path)).ok();
    let faults = map::bugs(&page.text, &[14, 11, 14], &lookup);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn scripts_can_be_executed() {
    for script in ["tests/run", "tests/faults", ".ci/run", ".ci/variants"] {
        let mode = fs::metadata(root().join(script)).expect("the script is there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is not executable");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> File {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    File { path: path.to_owned(), text }
}

fn sources() -> Vec<File> {
    all_files().into_iter().filter(|file| file.path.starts_with("src/")).collect()
}

/// Everything that a person writes: sources, scripts, pages and manifests, but no lock file.
fn all_files() -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    assert!(found.len() > 10, "the walk found only {} files", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(folder: &Path, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().expect("a file type");
        if kind.is_dir() {
            if name != ".git" && !name.starts_with("target") {
                walk(&path, found);
            }
            continue;
        }
        let written = [".rs", ".toml", ".md", ".sh", ".py"].iter().any(|end| name.ends_with(end))
            || !name.contains('.');
        if kind.is_file() && written && !name.starts_with("LICENSE") {
            // A built program without a suffix is no text.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            found.push(File { path, text });
        }
    }
}

fn expect_none(files: Vec<File>, rule: impl Fn(&File) -> Vec<String>) {
    let faults: Vec<String> = files.iter().flat_map(rule).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
