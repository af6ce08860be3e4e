//! Lines for a person, on standard error.

/// Writes a line to standard error as `eprintln!` does, but that it cannot be written is no reason to end.
macro_rules! tell {
    ($($words:tt)*) => {
        drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($words)*))))
    };
}

pub(crate) use tell;
