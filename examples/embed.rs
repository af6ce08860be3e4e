//! A runtime inside a host's loop: the host waits with poll(2) for its own descriptors and for the runtime's.
//!
//! ```sh
//! cargo run --example embed            # two seconds of ticks; what is typed is handed to a task
//! ```

#[path = "support/tell.rs"]
mod tell;

use std::{
    error::Error,
    io::{self, Read, Write, stdin, stdout},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tell::tell;
use wakering::{Runtime, Turn, channel, time};

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(word) = std::env::args_os().nth(1) {
        if word != "--help" && word != "-h" {
            tell!("embed: {word:?} is one argument too many: it takes none");
            std::process::exit(2);
        }
        writeln!(
            stdout(),
            "embed: ticks for two seconds inside a loop of poll(2), and hands what is typed to a task; takes no arguments"
        )?;
        return Ok(());
    }
    let runtime = Runtime::new()?;
    let selector = runtime.selector()?;
    let (mut lines, mut received) = channel::<String>(16);
    let listener = runtime.handle().spawn_on(0, move || async move {
        while let Some(line) = received.recv().await {
            writeln!(stdout(), "a task was told: {line}")?;
        }
        Ok::<(), io::Error>(())
    })?;
    let ticker = runtime.handle().spawn_on(0, || async {
        let mut ticks = time::interval(Duration::from_millis(500));
        for tick in 0..5 {
            ticks.tick().await;
            writeln!(stdout(), "tick {tick}")?;
        }
        Ok::<(), io::Error>(())
    })?;
    let mut typing = true;
    loop {
        let turn = runtime.turn(Duration::ZERO)?;
        // To be asked before the sleep, which nothing would end when it was the last timer.
        if ticker.is_finished() {
            break;
        }
        let Turn::Parked { until } = turn else { continue };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(Timespec::try_from).transpose()?;
        let input = stdin();
        let mut sources = vec![PollFd::new(&selector, PollFlags::IN)];
        if typing {
            sources.push(PollFd::new(&input, PollFlags::IN));
        }
        poll(&mut sources, timeout.as_ref())?;
        if sources.get(1).is_some_and(|source| !source.revents().is_empty()) {
            let mut typed = [0; 256];
            let length = stdin().lock().read(&mut typed)?;
            typing = length > 0;
            if typing {
                // Between two turns the wake is a remote one, and ends the next sleep.
                lines.try_send(String::from_utf8_lossy(&typed[..length]).trim().to_owned())?;
            }
        }
    }
    drop(lines);
    while !listener.is_finished() {
        runtime.turn(Duration::from_secs(1))?;
    }
    // Both are over, so their outcomes are there.
    let outcomes = [ticker, listener].map(FutureExt::now_or_never);
    outcomes.into_iter().flatten().try_for_each(|outcome| Ok(outcome??))
}
