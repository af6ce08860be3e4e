//! Where the processes of a handover meet: a Unix socket with the name of a file, made by whoever finds nobody there.
//!
//! Of several that begin at once one makes it, and the others find that one: a lock beside it sees to that. The lock is taken only
//! by those who found nobody, and held for no longer than it takes to look again and to make the place.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    limits::HANDOVER_RETRY,
    net::{UnixListener, UnixStream},
    sys::lock::try_lock,
    time::sleep,
};

/// What was found at a path.
pub(super) enum Met {
    /// Nobody. The place is this process's now.
    Nobody(UnixListener),
    /// The process that serves.
    Predecessor(UnixStream),
}

pub(super) async fn meet(path: &Path) -> io::Result<Met> {
    if let Some(stream) = look(path).await? {
        return Ok(Met::Predecessor(stream));
    }
    let _lock = lock(path).await?;
    if let Some(stream) = look(path).await? {
        return Ok(Met::Predecessor(stream));
    }
    make(path).map(Met::Nobody)
}

/// Whoever is there.
async fn look(path: &Path) -> io::Result<Option<UnixStream>> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn lock(path: &Path) -> io::Result<File> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let name = PathBuf::from(name);
    loop {
        // Waiting for it in the kernel would hold up the worker, for as long as a process that is stopped has it.
        match try_lock(&name)? {
            Some(lock) => return Ok(lock),
            None => sleep(HANDOVER_RETRY).await,
        }
    }
}

/// Makes it. A file that a process left behind which was killed is replaced; one that is no socket stays, and is in the way.
fn make(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let meeting = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(meeting)
}

/// Whether the other process is of this one's user, or root's; says which one it is.
///
/// Of one that listens the system tells who it was when it began to.
pub(super) fn permitted(stream: &UnixStream) -> io::Result<Option<i32>> {
    let (own, _) = UnixStream::pair()?;
    match (stream.peer_cred(), own.peer_cred()) {
        (Ok(peer), Ok(own)) if peer.uid() == own.uid() || peer.uid() == 0 => Ok(peer.pid()),
        (Ok(peer), Ok(_)) => {
            let text =
                format!("the other process of the handover is of user {}, and so not permitted", peer.uid());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
        }
        // A system that does not tell leaves it to the file's mode.
        (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}
