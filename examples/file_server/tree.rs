//! The folder that is served, and what a request's path names in it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use wakering::http::StatusCode;

/// More entries of a folder are not listed.
const ENTRIES: usize = 10_000;

/// What is not escaped in a path (RFC 3986 §2.3).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) struct Tree {
    /// Without symbolic links.
    root: PathBuf,
    list: bool,
}

/// What a path names.
pub(crate) enum Found {
    File(Opened),
    /// What is in a folder, and the folder's name for people.
    Folder(Vec<Entry>, String),
    /// A folder that was asked for without a slash at its end.
    Elsewhere(String),
}

/// An open file.
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
    /// Strong: another content has another one, as far as the file system tells.
    pub(crate) tag: String,
}

pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) folder: bool,
    pub(crate) length: u64,
}

impl Tree {
    pub(crate) fn new(folder: &Path, list: bool) -> io::Result<Tree> {
        let root = folder.canonicalize()?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Tree { root, list })
    }

    /// Finds what the path of a URL names; what must not be seen is not there.
    pub(crate) fn find(&self, url: &str) -> Result<Found, StatusCode> {
        let names = names(url)?;
        let path = self.inside(&names.iter().collect::<PathBuf>())?;
        if !path.is_dir() {
            // A file has nothing below it.
            return if url.ends_with('/') { Err(StatusCode::NOT_FOUND) } else { open(path).map(Found::File) };
        }
        if !url.ends_with('/') {
            return Ok(Found::Elsewhere(shown(&names) + "/"));
        }
        match self.inside(&path.join("index.html")) {
            Ok(index) if index.is_file() => open(index).map(Found::File),
            _ if self.list => Ok(Found::Folder(self.entries(&path)?, decoded(&names))),
            _ => Err(StatusCode::NOT_FOUND),
        }
    }

    /// The path without symbolic links, if it is below the root then.
    fn inside(&self, path: &Path) -> Result<PathBuf, StatusCode> {
        let path = self.root.join(path).canonicalize().map_err(|error| status(&error))?;
        if path.starts_with(&self.root) { Ok(path) } else { Err(StatusCode::NOT_FOUND) }
    }

    /// What may be seen of a folder.
    fn entries(&self, folder: &Path) -> Result<Vec<Entry>, StatusCode> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| status(&error))?.flatten().take(ENTRIES) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            // The link's target counts, as it will when it is asked for.
            let Ok(data) = self.inside(&entry.path()).map(fs::metadata) else { continue };
            let Ok(data) = data else { continue };
            if !name.starts_with('.') && (data.is_dir() || data.is_file()) {
                entries.push(Entry { name, folder: data.is_dir(), length: data.len() });
            }
        }
        entries.sort_by(|a, b| (!a.folder, &a.name).cmp(&(!b.folder, &b.name)));
        Ok(entries)
    }
}

/// The names on the way, none of which is empty, hidden or a step up.
fn names(url: &str) -> Result<Vec<String>, StatusCode> {
    let mut names = Vec::new();
    for name in url.split('/').filter(|name| !name.is_empty()) {
        let name = percent_decode_str(name).decode_utf8().map_err(|_| StatusCode::BAD_REQUEST)?;
        if name.contains(['/', '\0']) {
            return Err(StatusCode::BAD_REQUEST);
        }
        if name.starts_with('.') {
            return Err(StatusCode::NOT_FOUND);
        }
        names.push(name.into_owned());
    }
    Ok(names)
}

/// The path as a URL has it. It begins with one slash: with two it would name a host.
fn shown(names: &[String]) -> String {
    names.iter().map(|name| format!("/{}", escaped(name))).collect()
}

fn decoded(names: &[String]) -> String {
    format!("/{}", names.join("/"))
}

pub(crate) fn escaped(name: &str) -> String {
    utf8_percent_encode(name, PATH).to_string()
}

/// Opens a regular file.
pub(crate) fn open(path: PathBuf) -> Result<Opened, StatusCode> {
    let failed = |error: io::Error| status(&error);
    // To open a pipe would be to wait for its writer.
    if !fs::metadata(&path).map_err(failed)?.is_file() {
        return Err(StatusCode::NOT_FOUND);
    }
    let file = File::open(&path).map_err(failed)?;
    let data = file.metadata().map_err(failed)?;
    let modified = data.modified().map_err(failed)?;
    let time = (data.mtime(), data.mtime_nsec());
    let tag = format!("{:x}-{:x}.{:x}-{:x}", data.len(), time.0, time.1, data.ino());
    Ok(Opened { path, file, length: data.len(), modified, tag })
}

fn status(error: &io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
            StatusCode::NOT_FOUND
        }
        _ if error.raw_os_error().is_some_and(is_shortage) => StatusCode::SERVICE_UNAVAILABLE,
        // Too many symbolic links and the like: what they name is not there.
        _ => StatusCode::NOT_FOUND,
    }
}

/// ENFILE and EMFILE: no descriptor is left.
fn is_shortage(code: i32) -> bool {
    [23, 24].contains(&code)
}
