//! Settings by which nothing would ever move.

use crate::proto::h2::Config;

/// What in the settings is 0 and may not be: without windows no content would come, and without room for output no request be
/// taken and nothing be sent.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let unfit = [
        ("stream_window", config.stream_window == 0),
        ("output_bytes", config.output_bytes == 0),
        ("turn_bytes", config.turn_bytes == 0),
    ];
    match unfit.iter().find(|(_name, is_unfit)| *is_unfit) {
        Some((name, _unfit)) => Err(format!("{name} is to be at least 1, not 0")),
        None => Ok(()),
    }
}
