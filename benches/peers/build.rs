//! Takes h2's header compression out of its source in cargo's store: it is private, and is to be measured as it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // Only what this target needs has been downloaded.
    let target = env::var("TARGET").expect("cargo sets it");
    let metadata = Command::new(env::var_os("CARGO").expect("cargo runs this"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &target])
        .output()?;
    let metadata = String::from_utf8(metadata.stdout).expect("metadata is text");
    let manifest = metadata
        .split('"')
        .find(|text| text.ends_with("Cargo.toml") && in_folder(text, "h2-0."))
        .expect("h2 is a dependency");
    let source = Path::new(manifest).with_file_name("src");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    copy(&source.join("hpack"), &out.join("hpack"))?;
    copy_file(&source.join("ext.rs"), &out.join("ext.rs"))?;
    let module = |name: &str, file: &str| {
        let path = out.join(file);
        format!(
            "#[path = {path:?}]\n#[expect(dead_code, reason = \"half of it is measured\")]\nmod {name};\n"
        )
    };
    fs::write(out.join("h2_hpack.rs"), module("hpack", "hpack/mod.rs") + &module("ext", "ext.rs"))?;
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.lock");
    Ok(())
}

fn in_folder(manifest: &str, start: &str) -> bool {
    let folder = Path::new(manifest).parent().and_then(Path::file_name).and_then(|name| name.to_str());
    folder.is_some_and(|name| name.starts_with(start))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, target) =
            (entry.as_ref().map(fs::DirEntry::path), entry.as_ref().map(|e| to.join(e.file_name())));
        let (Ok(path), Ok(target)) = (path, target) else { continue };
        if path.is_dir() { copy(&path, &target)? } else { copy_file(&path, &target)? }
    }
    Ok(())
}

/// Without its tests, which are of an older edition.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let text = fs::read_to_string(from)?;
    let code = text.split("#[cfg(test)]\nmod test {").next().unwrap_or_default();
    fs::write(to, code)
}
