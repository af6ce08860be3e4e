//! The maps of the RFCs and of the hard bugs: every row has its proof, and the proof exists.
//!
//! A row is a line of a Markdown table, its last cell the proof. The proof names tests as `file::function` or
//! `file::module::function` (in `tests/`) or `proto::h2::frame::function` (beside the code), and may quote a case of their tables in “…”; or it
//! says why there is none.
//!
//! Rows of the RFCs' map have section, requirement, whom it binds, proof; its last tables count: keywords in the RFC's
//! text against rows. Rows of the hard bugs' map have a number, what went wrong, proof; each section counts from 1.

use std::collections::BTreeMap;

/// How a reason begins where there is no test.
const REASONS: [&str; 4] = ["Does not apply: ", "By design: ", "Left to the user: ", "Cannot occur: "];

/// Reads a file below the crate's root, if it is there.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The cells of a table's row; neither a heading nor a rule is one.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split(" | ").map(str::trim).collect();
    let heading = ["§", "RFC", "mistake", "claim", "#"].contains(&cells[0]) || inner.starts_with("---");
    (!heading).then_some(cells)
}

/// What tests are named by; `http::Body` names a type.
fn names(proof: &str) -> Vec<&str> {
    let is_test = |name: &&str| {
        name.rsplit_once("::").is_some_and(|(_, last)| last.starts_with(|first: char| first.is_lowercase()))
    };
    proof.split('`').skip(1).step_by(2).filter(is_test).collect()
}

fn quotes(proof: &str) -> impl Iterator<Item = &str> {
    proof.split('“').skip(1).filter_map(|rest| rest.split('”').next())
}

/// The files that a test's name may point into, and the function.
fn places(name: &str) -> Option<(Vec<String>, &str)> {
    let (path, function) = name.rsplit_once("::")?;
    let inner = path.replace("::", "/");
    let files = [format!("tests/{inner}.rs"), format!("src/{inner}.rs"), format!("src/{inner}/mod.rs")];
    Some((files.to_vec(), function))
}

/// Rows without a proof, proofs that do not exist, and counts that do not add up.
pub(crate) fn faults(text: &str, lookup: &Lookup<'_>) -> Vec<String> {
    let (mut found, mut rfc) = (Vec::new(), "");
    let mut counted: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        if let Some(title) = line.strip_prefix("## ") {
            rfc = title.split(':').next().unwrap_or(title);
        }
        let Some(cells) = cells(line) else { continue };
        let faults = match cells[..] {
            _ if cells.iter().any(|cell| cell.is_empty()) => vec!["an empty cell".to_owned()],
            [section, _requirement, _whom, proof] => {
                *counted.entry((rfc, section)).or_default() += 1;
                unproven(proof, lookup)
            }
            [rfc, section, keywords] => {
                let rows = counted.remove(&(rfc, section)).unwrap_or(0);
                let same = keywords == rows.to_string();
                if same { Vec::new() } else { vec![format!("{keywords} keywords, {rows} rows")] }
            }
            [_mistake, proof] => unproven(proof, lookup),
            _ => vec![format!("{} cells", cells.len())],
        };
        found.extend(faults.into_iter().map(|fault| format!("line {number}: {fault}")));
    }
    found.extend(counted.keys().map(|(rfc, section)| format!("{rfc} §{section} is not in the counts")));
    found
}

/// Rows without a proof, proofs that do not exist, and numbers that are missing: each section of the page has as many
/// rows as `sections` says.
pub(crate) fn bugs(text: &str, sections: &[usize], lookup: &Lookup<'_>) -> Vec<String> {
    let (mut found, mut counted) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().zip(1..) {
        if line.starts_with("## ") {
            counted.push(0);
        }
        let (Some(cells), Some(row)) = (cells(line), counted.last_mut()) else { continue };
        *row += 1;
        let faults = match cells[..] {
            _ if cells.iter().any(|cell| cell.is_empty()) => vec!["an empty cell".to_owned()],
            [number, _bug, proof] if number == row.to_string() => unproven(proof, lookup),
            [number, ..] => vec![format!("{} cells, number {number} where {row} belongs", cells.len())],
            [] => Vec::new(),
        };
        found.extend(faults.into_iter().map(|fault| format!("line {number}: {fault}")));
    }
    if counted != sections {
        found.push(format!("the sections have {counted:?} rows and should have {sections:?}"));
    }
    found
}

/// What is wrong with a proof.
fn unproven(proof: &str, lookup: &Lookup<'_>) -> Vec<String> {
    let names = names(proof);
    if names.is_empty() {
        let reason = REASONS.iter().find_map(|start| proof.strip_prefix(start));
        return match reason {
            Some(reason) if reason.len() > 10 => Vec::new(),
            Some(_) | None => vec![format!("neither a test nor a reason: {proof}")],
        };
    }
    let (mut found, mut texts) = (Vec::new(), String::new());
    for name in names {
        let Some((files, function)) = places(name) else { continue };
        let there: Vec<_> = files.iter().filter_map(|file| lookup(file)).collect();
        if there.is_empty() {
            found.push(format!("`{name}`: there is no {}", files.join(", no ")));
        } else if !there.iter().any(|text| text.contains(&format!("fn {function}("))) {
            found.push(format!("`{name}`: its file has no such test"));
        }
        texts.extend(there);
    }
    let missing = quotes(proof).filter(|quote| !texts.contains(&format!("\"{quote}\"")));
    found.extend(missing.map(|quote| format!("no case “{quote}” in the named tests")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(file: &str) -> Option<String> {
        match file {
            "tests/a.rs" => Some("fn holds() { case(\"a case\"); }".to_owned()),
            "src/proto/x.rs" => Some("fn holds_too() {}".to_owned()),
            _ => None,
        }
    }

    fn count(text: &str) -> usize {
        faults(text, &lookup).len()
    }

    /// Rows of one section, with their count.
    fn page(rows: &[&str]) -> String {
        let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
        format!(
            "## RFC 1: x\n| § | requirement | binds | proof |\n|---|---|---|---|\n{rows}| RFC 1 | 1 | 1 |\n"
        )
    }

    #[test]
    fn a_row_with_a_proof_or_a_reason_is_none() {
        assert_eq!(count(&page(&["| 1 | must | both | `a::holds` |"])), 0);
        assert_eq!(count(&page(&["| 1 | must | both | `a::holds` “a case”, `proto::x::holds_too` |"])), 0);
        assert_eq!(count(&page(&["| 1 | must | both | Does not apply: nobody has a `http::Cache`. |"])), 0);
        assert_eq!(count("| mistake | proof |\n|---|---|\n| a mistake | `a::holds` |"), 0);
    }

    #[test]
    fn an_empty_row_and_a_proof_that_is_not_there_are_faults() {
        for proof in
            ["surely", "Does not apply: no.", "`a::fails`", "`b::holds`", "`a::holds` “another case”"]
        {
            assert_eq!(count(&page(&[&format!("| 1 | must | both | {proof} |")])), 1, "{proof}");
        }
        assert_eq!(count("| 1 | must | both |  |"), 1);
        assert_eq!(count("| a mistake | `a::fails` |"), 1);
    }

    #[test]
    fn hard_bugs_are_numbered_and_proven() {
        let count = |rows: &str| {
            bugs(&format!("## x\n| # | bug | proof |\n|---|---|---|\n{rows}"), &[2], &lookup).len()
        };
        let first = "| 1 | a bug | `a::holds` |\n";
        assert_eq!(count(&format!("{first}| 2 | another | Cannot occur: nobody does that. |")), 0);
        assert_eq!(count(&format!("{first}| 2 | another | `proto::x::holds_too` |")), 0);
        assert_eq!(count(first), 1, "a row is missing");
        for row in
            ["| 3 | another | `a::holds` |", "| 2 | another |  |", "| 2 | another | `a::fails` |", "| 2 |  |"]
        {
            assert_eq!(count(&format!("{first}{row}")), 1, "{row}");
        }
    }

    #[test]
    fn a_section_with_more_keywords_than_rows_is_a_fault() {
        let row = "| 1 | must | both | `a::holds` |";
        assert_eq!(count(&page(&[])), 1);
        assert_eq!(count(&page(&[row, row])), 1);
        assert_eq!(count(&page(&[row, "| 2 | must | both | `a::holds` |"])), 1);
    }
}
