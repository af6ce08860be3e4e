//! A temporary folder of a test's own.

use std::{
    env, fs,
    ops::Deref,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// It is deleted with this value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Its path is short, as names of sockets must be.
    pub(crate) fn new(word: &str) -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("wk-{word}-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a folder");
        Folder(path)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What somebody still writes there is lost on the machine's temporary folder.
        drop(fs::remove_dir_all(&self.0));
    }
}
