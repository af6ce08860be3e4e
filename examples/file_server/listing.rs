//! What is in a folder, as a page.

use std::fmt::Write;

use crate::{
    answer::Wanted,
    tree::{Entry, escaped},
};

const STYLE: &str = "body{font-family:sans-serif;margin:2em}td{padding:.1em 1em}td+td{text-align:right}";

pub(crate) fn page(entries: &[Entry], folder: &str) -> Wanted {
    let folder = text(folder);
    let mut page = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8>\n<title>{folder}</title>\n\
         <style>{STYLE}</style>\n<h1>{folder}</h1>\n<table>\n"
    );
    if folder != "/" {
        page.push_str("<tr><td><a href=\"../\">../</a><td>\n");
    }
    for entry in entries {
        let slash = if entry.folder { "/" } else { "" };
        let length = if entry.folder { String::new() } else { entry.length.to_string() };
        // A name with a colon in front would be a scheme.
        let target = format!("./{}{slash}", escaped(&entry.name));
        let name = text(&entry.name);
        writeln!(page, "<tr><td><a href=\"{target}\">{name}{slash}</a><td>{length}")
            .expect("a String takes everything");
    }
    page.push_str("</table>\n");
    Wanted::Page(page)
}

/// Text in a page.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
