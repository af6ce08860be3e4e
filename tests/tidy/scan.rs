//! A lexer just good enough to judge Rust sources without being fooled by comments and strings.
//!
//! It drops comments, folds every literal into one placeholder token and yields identifiers and single
//! punctuation marks (`::` is one token). It does not parse: what the checks ask about (paths,
//! attributes, keywords) can be seen in the token stream.

/// An identifier, a mark, a lifetime or [`LITERAL`], with the line where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// What a string, character or byte literal becomes: its content is nobody's import.
pub(crate) const LITERAL: &str = "\"\"";

/// Splits a source file into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source, line: 1, found: Vec::new() };
    while lexer.step() {}
    lexer.found
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<Token>,
}

impl Lexer<'_> {
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if let Some(length) = comment(self.rest) {
            self.skip(length);
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else if let Some(length) = literal(self.rest) {
            self.push(LITERAL, length);
        } else if first.is_alphanumeric() || first == '_' {
            self.word();
        } else if first == '\'' {
            let length = 1 + word_length(&self.rest[1..]);
            let text = self.rest[..length].to_owned();
            self.push(&text, length);
        } else if self.rest.starts_with("::") {
            self.push("::", 2);
        } else {
            self.push(&first.to_string(), first.len_utf8());
        }
        true
    }

    fn word(&mut self) {
        let raw = if self.rest.starts_with("r#") { 2 } else { 0 };
        let length = raw + word_length(&self.rest[raw..]);
        let text = self.rest[raw..length].to_owned();
        self.push(&text, length);
    }

    fn push(&mut self, text: &str, length: usize) {
        self.found.push(Token { line: self.line, text: text.to_owned() });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
    }
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The length of the comment that `text` begins with. Block comments nest.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    Some(text.len())
}

/// The length of the string, byte string, C string, raw string or character that `text` begins with.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|p| {
        text.strip_prefix(p).is_some_and(|rest| {
            rest.starts_with('"') || p.ends_with('r') && is_raw(rest) || rest.starts_with('\'')
        })
    });
    let start = prefix.map_or(0, str::len);
    let body = &text[start..];
    if prefix.is_some_and(|p| p.ends_with('r')) {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let close = format!("\"{}", "#".repeat(hashes));
        let from = hashes + 1;
        let end = body.get(from..)?.find(&close).map_or(body.len(), |at| from + at + close.len());
        return Some(start + end);
    }
    match body.chars().next()? {
        '"' => Some(start + quoted(body, b'"')),
        '\'' if prefix.is_some() || is_character(body) => Some(start + quoted(body, b'\'')),
        _ => None,
    }
}

fn is_raw(rest: &str) -> bool {
    rest.starts_with('#') && rest.trim_start_matches('#').starts_with('"')
}

/// `'x'` and `'\n'` are characters, `'x` alone is a lifetime.
fn is_character(body: &str) -> bool {
    let mut chars = body.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

fn quoted(body: &str, quote: u8) -> usize {
    let bytes = body.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Where a path goes that starts at the crate's root: the line and the first segment.
///
/// `depth` is how far below the root the file's own module lies (0 for `lib.rs`): it tells which chain of
/// `super::` climbs to the root.
pub(crate) fn root_segments(tokens: &[Token], depth: usize) -> Vec<(usize, String)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    let mut inline = Inline::default();
    let mut at = 0;
    while at < tokens.len() {
        inline.see(tokens, at);
        if text(at) == "crate" && text(at + 1) == "as" {
            found.push((tokens[at].line, "crate under another name".to_owned()));
        } else if text(at) == "crate" && text(at + 1) == "::" && !is_visibility(tokens, at) {
            collect(tokens, at + 2, &mut found);
        } else if text(at) == "super" && text(at + 1) == "::" {
            let mut climbs = 0;
            while text(at) == "super" && text(at + 1) == "::" {
                climbs += 1;
                at += 2;
            }
            if climbs >= depth + inline.depth() {
                collect(tokens, at, &mut found);
            }
            continue;
        }
        at += 1;
    }
    found
}

/// The first segments of the paths that start with `root ::`, such as `std`.
pub(crate) fn segments_of(tokens: &[Token], root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let inner = at >= 2 && tokens[at - 1].text == "::" && is_word(&tokens[at - 2].text);
        if tokens[at].text == root && !inner && tokens.get(at + 1).is_some_and(|token| token.text == "::") {
            collect(tokens, at + 2, &mut found);
        }
    }
    found
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// `pub(in crate::net)` names who may look, it imports nothing.
fn is_visibility(tokens: &[Token], at: usize) -> bool {
    at >= 3 && tokens[at - 1].text == "in" && tokens[at - 2].text == "(" && tokens[at - 3].text == "pub"
}

/// Adds the segment at `at`, or the first segment of every branch of the group that begins there.
fn collect(tokens: &[Token], at: usize, found: &mut Vec<(usize, String)>) {
    let Some(token) = tokens.get(at) else { return };
    if token.text != "{" {
        found.push((token.line, token.text.clone()));
        return;
    }
    let (mut depth, mut fresh) = (0, true);
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => fresh = true,
            "::" if fresh => {}
            text if fresh && depth == 1 => {
                found.push((token.line, text.to_owned()));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Follows `mod name { … }` blocks, so that `super` inside them is counted from where it stands.
#[derive(Default)]
struct Inline {
    braces: usize,
    open: Vec<usize>,
}

impl Inline {
    fn see(&mut self, tokens: &[Token], at: usize) {
        match tokens[at].text.as_str() {
            "{" => {
                self.braces += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    self.open.push(self.braces);
                }
            }
            "}" => {
                if self.open.last() == Some(&self.braces) {
                    self.open.pop();
                }
                self.braces = self.braces.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    fn reached(source: &str, depth: usize) -> Vec<String> {
        root_segments(&tokens(source), depth).into_iter().map(|(_, segment)| segment).collect()
    }

    #[test]
    fn comments_and_literals_hide_what_they_hold() {
        assert_eq!(words("a // crate::x\nb /* unsafe /* deep */ unsafe */ c"), ["a", "b", "c"]);
        assert_eq!(words(r#"f("un\"safe", b'x', 'y', '\'', c"z")"#).join(""), "f(\"\",\"\",\"\",\"\",\"\")");
        assert_eq!(words("r#\"unsafe \" unsafe\"# d br##\"x\"# y\"## e"), [LITERAL, "d", LITERAL, "e"]);
        assert_eq!(words("fn f<'a>(x: &'a str, r#type: u8)")[3..5], ["'a", ">"]);
    }

    #[test]
    fn lines_are_counted_through_literals_and_comments() {
        let found = tokens("a\n\"x\ny\" /*\n*/ b");
        assert_eq!(found.last().map(|token| token.line), Some(4));
    }

    #[test]
    fn every_spelling_of_a_path_from_the_root_is_seen() {
        assert_eq!(reached("use crate::sys::Token;", 1), ["sys"]);
        assert_eq!(reached("use crate::{net::{tcp, udp}, time, r#async::x};", 1), ["net", "time", "async"]);
        assert_eq!(reached("fn f() { crate::task::g(); $crate::wake::h!() }", 1), ["task", "wake"]);
        assert_eq!(reached("pub(in crate::net) fn f() {} use crate as c;", 1), ["crate under another name"]);
        assert_eq!(reached("use super::net; use super::super::sys::x;", 2), ["sys"]);
        assert_eq!(reached("use super::{net, sys};", 1), ["net", "sys"]);
        assert_eq!(
            reached("mod tests { use super::*; use super::super::sys; } use super::wake;", 1),
            ["sys", "wake"]
        );
    }

    #[test]
    fn a_segment_is_only_counted_after_its_own_root() {
        let found = segments_of(&tokens("use std::{net::X, io}; core::std::fs; ::std::fs::y"), "std");
        assert_eq!(found.into_iter().map(|(_, s)| s).collect::<Vec<_>>(), ["net", "io", "fs"]);
    }
}
