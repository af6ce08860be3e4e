//! An end that a signal begins.
//!
//! The first Ctrl-C or SIGTERM is for the example to stop in good order; a second one ends the process at once.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process,
};

use wakering::signal::{self, Kind};

/// The code of a process that a second signal ended: as a shell reports one that Ctrl-C killed.
const SECOND_SIGNAL: i32 = 130;

/// Announces `addr` and waits for the first signal.
pub(crate) async fn first_signal(addr: SocketAddr) -> io::Result<()> {
    // Before the announcement, so that whoever waits for that may signal at once.
    let mut signals = signal::any([Kind::INTERRUPT, Kind::TERMINATE])?;
    let told = writeln!(io::stdout(), "listening on {addr}");
    told.map_err(|error| io::Error::new(error.kind(), format!("standard output: {error}")))?;
    signals.recv().await?;
    wakering::spawn(async move {
        if signals.recv().await.is_ok() {
            process::exit(SECOND_SIGNAL);
        }
    });
    Ok(())
}
