//! The numbers of several servers as one text: each family once, a label for the server.

use std::fmt::Write;

use crate::http::Metrics;

/// Adds the families of all servers to `text`.
pub(super) fn add(text: &mut String, servers: &[(String, Metrics)]) {
    let texts: Vec<(String, String)> =
        servers.iter().map(|(name, metrics)| (escaped(name), metrics.to_string())).collect();
    let Some((_, first)) = texts.first() else { return };
    // Every server's text has the same lines but for the numbers.
    let mut rest: Vec<_> = texts.iter().map(|(name, text)| (name, text.lines())).collect();
    for line in first.lines() {
        if line.starts_with('#') {
            let _ = writeln!(text, "{line}");
        }
        for (name, lines) in &mut rest {
            match lines.next() {
                Some(sample) if !sample.starts_with('#') => add_label(text, sample, name),
                Some(_) | None => {}
            }
        }
    }
}

/// `name{a="b"} 1` or `name 1`, with the label in front of others.
fn add_label(text: &mut String, sample: &str, server: &str) {
    // Writing to a string does not fail.
    let _ = match sample.split_once('{') {
        Some((name, rest)) => writeln!(text, "{name}{{server=\"{server}\",{rest}"),
        None => match sample.split_once(' ') {
            Some((name, value)) => writeln!(text, "{name}{{server=\"{server}\"}} {value}"),
            None => return,
        },
    };
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stand_once_and_samples_name_their_server() {
        let mut text = String::new();
        let one = Metrics { requests: 1, ..Metrics::default() };
        let two = Metrics { requests: 2, ..Metrics::default() };
        add(&mut text, &[("a\"b".to_owned(), one), ("two".to_owned(), two)]);
        assert_eq!(text.matches("# TYPE wakering_http_requests_total counter").count(), 1);
        assert!(text.contains(
            "\nwakering_http_requests_total{server=\"a\\\"b\"} 1\nwakering_http_requests_total{server=\"two\"} 2\n"
        ));
        assert!(text.contains("{server=\"two\",bound=\""));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.contains("{server=\"") && line.split(' ').count() == 2, "{line}");
        }
    }
}
