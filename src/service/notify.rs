//! What the process says to its service manager. sd_notify(3), sd_watchdog_enabled(3).

use std::{env, ffi::OsStr, fmt::Write as _, io, os::unix::ffi::OsStrExt, process, time::Duration};

use crate::{
    net::{UnixAddr, UnixDatagram},
    worker::timer::Timer,
};

/// Something to say to the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State<'a> {
    /// The service is up: what waits for it may begin (`READY=1`).
    Ready,
    /// The service is about to end (`STOPPING=1`).
    Stopping,
    /// What it does, in a line for people (`STATUS=`). Line breaks become blanks.
    Status(&'a str),
    /// Another process is the service's main one from now on (`MAINPID=`), as after a [handover](super::Handover).
    MainPid(u32),
    /// It is alive (`WATCHDOG=1`); see [`keep_watchdog`].
    Watchdog,
    /// Starting or stopping takes so much longer than the unit says (`EXTEND_TIMEOUT_USEC=`).
    ExtendTimeout(Duration),
}

/// Tells the service manager, in one message; `false` when there is none that listens (`NOTIFY_SOCKET`).
///
/// The unit has to ask for it: `Type=notify`, and `NotifyAccess=` for processes that are not its main one.
///
/// # Errors
///
/// The system's, of sending to the socket that `NOTIFY_SOCKET` names; `Unsupported` when it is none of the kind
/// `AF_UNIX`.
///
/// # Cancellation
///
/// Nothing was said.
///
/// # Examples
///
/// ```
/// use wakering::service::{self, State};
///
/// wakering::run(async {
///     service::notify(&[State::Ready, State::Status("serving on port 8080")]).await
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: sd_notify(3).
pub async fn notify(states: &[State<'_>]) -> io::Result<bool> {
    let Some(manager) = env::var_os("NOTIFY_SOCKET") else { return Ok(false) };
    tell(address(&manager)?, states).await?;
    Ok(true)
}

async fn tell(manager: UnixAddr, states: &[State<'_>]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.send_to(message(states).as_bytes(), manager).await?;
    Ok(())
}

/// The address that the variable names: a path, or `@` and an abstract name.
fn address(variable: &OsStr) -> io::Result<UnixAddr> {
    match variable.as_bytes() {
        [b'@', name @ ..] => Ok(UnixAddr::Abstract(name.to_vec())),
        [b'/', ..] => Ok(UnixAddr::Path(variable.into())),
        _ => {
            let text = format!("NOTIFY_SOCKET={variable:?} is no Unix socket");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

fn message(states: &[State<'_>]) -> String {
    let mut text = String::new();
    for state in states {
        // Writing to a string does not fail.
        let _ = match state {
            State::Ready => writeln!(text, "READY=1"),
            State::Stopping => writeln!(text, "STOPPING=1"),
            State::Status(status) => writeln!(text, "STATUS={}", status.replace(['\n', '\r'], " ")),
            State::MainPid(process) => writeln!(text, "MAINPID={process}"),
            State::Watchdog => writeln!(text, "WATCHDOG=1"),
            State::ExtendTimeout(more) => writeln!(text, "EXTEND_TIMEOUT_USEC={}", more.as_micros()),
        };
    }
    text
}

/// How long the service manager waits for a sign of life before it restarts this process (`WatchdogSec=` of the unit); `None` when
/// it does not.
///
/// Source: sd_watchdog_enabled(3).
#[must_use]
pub fn watchdog_timeout() -> Option<Duration> {
    timeout(|name| env::var(name).ok(), process::id())
}

fn timeout(variable: impl Fn(&str) -> Option<String>, own: u32) -> Option<Duration> {
    let microseconds: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    // Without it the watchdog is for whoever has the other variable.
    let process = variable("WATCHDOG_PID").map(|text| text.parse::<u32>());
    let own = process.is_none_or(|process| process == Ok(own));
    (own && microseconds > 0).then(|| Duration::from_micros(microseconds))
}

/// Gives a sign of life twice within each [`watchdog_timeout`], for as long as it is polled: as a task, for as long as this
/// worker turns. Done at once when there is no watchdog.
///
/// A message that cannot be sent is followed by the next: the manager decides when there have been too few.
///
/// # Cancellation
///
/// The signs of life end.
///
/// # Examples
///
/// ```
/// wakering::run(async {
///     wakering::spawn(wakering::service::keep_watchdog());
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub async fn keep_watchdog() {
    let Some(period) = watchdog_timeout() else { return };
    loop {
        // As told above.
        let _ = notify(&[State::Watchdog]).await;
        Timer::after(period / 2).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_lines_of_one_message_and_a_status_has_one_line() {
        let states = [
            State::Ready,
            State::Status("two\nlines"),
            State::MainPid(7),
            State::Watchdog,
            State::ExtendTimeout(Duration::from_millis(2)),
            State::Stopping,
        ];
        let text = "READY=1\nSTATUS=two lines\nMAINPID=7\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=2000\nSTOPPING=1\n";
        assert_eq!(message(&states), text);
    }

    #[test]
    fn the_manager_is_a_path_or_an_abstract_name() {
        assert_eq!(address(OsStr::new("/run/notify")).unwrap(), UnixAddr::from("/run/notify"));
        assert_eq!(address(OsStr::new("@a/b")).unwrap(), UnixAddr::Abstract(b"a/b".to_vec()));
        for other in ["", "vsock:2:1", "run/notify"] {
            assert_eq!(address(OsStr::new(other)).unwrap_err().kind(), io::ErrorKind::Unsupported);
        }
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let with = |usec: Option<&'static str>, pid: Option<&'static str>| {
            timeout(|name| if name == "WATCHDOG_USEC" { usec } else { pid }.map(str::to_owned), 7)
        };
        assert_eq!(with(Some("3000000"), Some("7")), Some(Duration::from_secs(3)));
        assert_eq!(with(Some("3000000"), None), Some(Duration::from_secs(3)));
        for (usec, pid) in [
            (None, None),
            (Some("0"), None),
            (Some("x"), None),
            (Some("1"), Some("8")),
            (Some("1"), Some("")),
        ] {
            assert_eq!(with(usec, pid), None, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn a_manager_that_is_not_there_is_an_error() {
        crate::worker::run(async {
            let nobody = std::env::temp_dir().join(format!("wakering-nobody-{}", process::id()));
            assert_eq!(
                tell(nobody.into(), &[State::Ready]).await.unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
        })
        .unwrap();
    }
}
