//! The few questions that the checks ask of `Cargo.toml`, without a TOML parser in the tree.

/// The manifest as `(table, line)` pairs; the tables of an array (`[[example]]`) are numbered apart.
pub(crate) struct Manifest {
    lines: Vec<(String, usize, String)>,
}

/// One `[[example]]` entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) required_features: Vec<String>,
}

impl Manifest {
    pub(crate) fn parse(text: &str) -> Manifest {
        let (mut table, mut serial, mut lines) = (String::new(), 0, Vec::new());
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                table = line.trim_matches(['[', ']']).to_owned();
                serial += 1;
            } else if !line.is_empty() && !line.starts_with('#') {
                lines.push((table.clone(), serial, line.to_owned()));
            }
        }
        Manifest { lines }
    }

    /// The value of `key` in `table`, as it is written.
    pub(crate) fn get<'a>(&'a self, table: &'a str, key: &str) -> Option<&'a str> {
        self.entries(table).find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// Every `key = value` of a table.
    pub(crate) fn entries<'a>(&'a self, table: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines.iter().filter(move |(found, ..)| found == table).filter_map(|(_, _, line)| {
            let (key, value) = line.split_once('=')?;
            Some((key.trim(), value.trim()))
        })
    }

    /// The optional dependencies, by the name that code writes.
    pub(crate) fn optional_crates(&self) -> Vec<String> {
        self.entries("dependencies")
            .filter(|(_, value)| value.replace(' ', "").contains("optional=true"))
            .map(|(key, _)| key.replace('-', "_"))
            .collect()
    }

    /// The features that switch the optional dependency `name` on.
    pub(crate) fn features_with(&self, name: &str) -> Vec<String> {
        self.entries("features")
            .filter(|(_, value)| strings(value).iter().any(|s| s.replace('-', "_") == format!("dep:{name}")))
            .map(|(key, _)| key.to_owned())
            .collect()
    }

    pub(crate) fn examples(&self) -> Vec<Example> {
        let mut found: Vec<(usize, Example)> = Vec::new();
        for (_, serial, line) in self.lines.iter().filter(|(table, ..)| table == "example") {
            if found.last().is_none_or(|(last, _)| last != serial) {
                found.push((*serial, Example::default()));
            }
            let (Some((_, example)), Some((key, value))) = (found.last_mut(), line.split_once('=')) else {
                continue;
            };
            match key.trim() {
                "name" => example.name = strings(value).concat(),
                "required-features" => example.required_features = strings(value),
                _ => {}
            }
        }
        found.into_iter().map(|(_, example)| example).collect()
    }
}

/// The quoted strings on a line.
pub(crate) fn strings(value: &str) -> Vec<String> {
    value.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keys_features_and_examples_are_found() {
        let manifest = Manifest::parse(concat!(
            "[package]\nversion = \"0.1.0\"\n[features]\nio = [\"dep:futures-io\"]\n",
            "[dependencies]\nfutures-io = { version = \"0.3\", optional = true }\nbytes = \"1\"\n",
            "[[example]]\nname = \"a\"\n\n[[example]]\nname = \"b\"\nrequired-features = [\"x\", \"y\"]\n",
        ));
        assert_eq!(manifest.get("package", "version"), Some("\"0.1.0\""));
        assert_eq!(manifest.optional_crates(), ["futures_io"]);
        assert_eq!(manifest.features_with("futures_io"), ["io"]);
        let examples = manifest.examples();
        assert_eq!(examples.len(), 2);
        assert_eq!(
            examples[1],
            Example { name: "b".into(), required_features: vec!["x".into(), "y".into()] }
        );
    }
}
