//! The bounds of the console.

use std::time::Duration;

/// Connections of a console: a browser opens six, and some people may look.
pub(crate) const CONSOLE_CONNECTIONS: usize = 64;
/// Tasks, connections and jobs that a console lists, each: twice what the page shows, and about 200 KiB.
pub(crate) const CONSOLE_TASKS: usize = 400;
/// How old what a console tells may be: several who look once a second share what is gathered.
pub(crate) const CONSOLE_AGE: Duration = Duration::from_millis(250);
