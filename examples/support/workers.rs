//! `--workers` of a command line.

/// Threads of a runtime.
pub(crate) fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers @ 1..=1024) => Ok(workers),
        _ => Err(format!("`{text}` is no number of workers from 1 to 1024")),
    }
}
