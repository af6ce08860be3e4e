//! Content codings: which one the client takes, what lies compressed beside a file, and compressing on the way.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use crate::tree::{self, Opened};

/// Below, compressing gains nothing; above, it would hold too much memory for one answer.
const ON_THE_WAY: std::ops::RangeInclusive<u64> = 512..=1024 * 1024;

/// How hard brotli tries, 0 to 11: as fast as gzip, and smaller.
const BROTLI_QUALITY: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Brotli,
    Zstandard,
    Gzip,
}

/// Best first.
const CODES: [Code; 3] = [Code::Brotli, Code::Zstandard, Code::Gzip];

impl Code {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Code::Brotli => "br",
            Code::Zstandard => "zstd",
            Code::Gzip => "gzip",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Code::Brotli => "br",
            Code::Zstandard => "zst",
            Code::Gzip => "gz",
        }
    }

    /// Whether this file is compressed so already, by its name.
    pub(crate) fn lies_in(self, path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending == self.ending())
    }

    /// The file's content, compressed.
    pub(crate) fn compressed(self, file: &Opened) -> io::Result<Bytes> {
        let mut source = (&file.file).take(*ON_THE_WAY.end());
        let bytes = match self {
            Code::Brotli => {
                let mut writer = brotli::CompressorWriter::new(Vec::new(), 64 * 1024, BROTLI_QUALITY, 20);
                copy(&mut source, &mut writer)?;
                writer.into_inner()
            }
            Code::Gzip => {
                let mut writer = GzEncoder::new(Vec::new(), Compression::default());
                copy(&mut source, &mut writer)?;
                writer.finish()?
            }
            // Without C there is no encoder of note.
            Code::Zstandard => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(bytes.into())
    }
}

fn copy(source: &mut io::Take<&File>, writer: &mut impl Write) -> io::Result<()> {
    io::copy(source, writer)?;
    writer.flush()
}

/// Whether a type's content gets smaller: text, and what is text under another name.
pub(crate) fn is_worth_it(mime: &str) -> bool {
    let kind = mime.split(';').next().unwrap_or_default();
    kind.starts_with("text/")
        || ["json", "javascript", "xml", "wasm"].iter().any(|end| kind.ends_with(end))
        || kind == "image/svg+xml"
}

/// The codings that a client takes, by their weights (RFC 9110 §12.5.3).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accepted {
    weights: [f32; 3],
}

impl Accepted {
    pub(crate) fn new(list: Option<String>) -> Accepted {
        let list = list.unwrap_or_default();
        let weight_of = |name: &str| {
            list.split(',').find_map(|one| {
                let mut words = one.split(';').map(str::trim);
                let named = words.next().is_some_and(|it| it.eq_ignore_ascii_case(name));
                let weight = words.find_map(|word| word.strip_prefix("q=").or(word.strip_prefix("Q=")));
                let weight: f32 = weight.map_or(1.0, |text| text.trim().parse().unwrap_or(0.0));
                named.then_some(weight)
            })
        };
        // Who says that the content as it is would be better gets that.
        let plain = weight_of("identity").unwrap_or(0.0);
        let weigh = |code: Code| weight_of(code.name()).or_else(|| weight_of("*")).unwrap_or(0.0);
        Accepted { weights: CODES.map(weigh).map(|weight| if weight < plain { 0.0 } else { weight }) }
    }

    /// Those that it takes, the best first; a weight of nothing is a no.
    fn codes(self) -> impl Iterator<Item = Code> {
        let mut codes: Vec<_> =
            CODES.into_iter().zip(self.weights).filter(|(_, weight)| *weight > 0.0).collect();
        codes.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        codes.into_iter().map(|(code, _)| code)
    }

    /// The best that can be made on the way, if the file is neither too small nor too large.
    pub(crate) fn on_the_way(self, length: u64) -> Option<Code> {
        let made = self.codes().find(|code| [Code::Brotli, Code::Gzip].contains(code));
        made.filter(|_| ON_THE_WAY.contains(&length))
    }
}

/// The compressed file beside this one, if the client takes it and it is not older.
pub(crate) fn beside(file: Opened, accepted: Accepted) -> (Opened, Option<Code>) {
    for code in accepted.codes() {
        let mut name = file.path.clone().into_os_string();
        name.push(format!(".{}", code.ending()));
        let path = PathBuf::from(name);
        // A link might lead anywhere.
        if !path.symlink_metadata().is_ok_and(|data| data.is_file()) {
            continue;
        }
        match tree::open(path) {
            Ok(other) if other.modified >= file.modified => return (other, Some(code)),
            Ok(_) | Err(_) => {}
        }
    }
    (file, None)
}
