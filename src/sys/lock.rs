//! A lock between processes, on a file that is there for that alone. flock(2).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::call::{Call, retry};

/// Locks the file at `path`, which is made if it is not there, until what is returned is dropped; `None` while another has
/// it. A process that dies lets go of it. The file is this user's alone, and stays: to remove it would let two in.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    // One that is a link leads to somebody else's choice.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path)?;
    // SAFETY: flock takes integers and touches no memory of ours; `file` is open meanwhile.
    match retry(Call::Lock, || unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_zero) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_who_lock_a_file_one_waits_until_the_other_has_gone() {
        let path = std::env::temp_dir().join(format!("wk-lock-{}", std::process::id()));
        let first = try_lock(&path).unwrap();
        assert!(first.is_some());
        assert!(try_lock(&path).unwrap().is_none());
        drop(first);
        assert!(try_lock(&path).unwrap().is_some());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_link_is_not_followed() {
        let link = std::env::temp_dir().join(format!("wk-lock-link-{}", std::process::id()));
        let target = link.with_extension("target");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(try_lock(&link).is_err());
        assert!(!target.exists());
        std::fs::remove_file(&link).unwrap();
    }
}
