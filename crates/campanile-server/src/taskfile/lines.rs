//! Where the tasks of a file stand: for errors that name a line. Reads the text's lines alone; knows no definition.

use super::Form;

/// Where the tasks of a text begin, as far as that can be told from its lines. Serves errors alone: where it can't be
/// told, no line is named.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    text: Vec<String>,
    /// The first line of each task, from 0; empty = unknown.
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn find(text: &str, form: Form, tasks: usize) -> Self {
        let text: Vec<String> = text.lines().map(str::to_owned).collect();
        let starting = |begins: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..text.len()).filter(|i| begins(&text[*i])).collect()
        };
        let indent = |l: &str| l.len() - l.trim_start().len();
        let starts = match form {
            Form::Toml => starting(&|l| l.trim_start().starts_with("[[task]]")),
            Form::Yaml => {
                let items = starting(&|l| l.trim_start().starts_with("- "));
                let least = items.iter().map(|i| indent(&text[*i])).min().unwrap_or(0);
                items
                    .into_iter()
                    .filter(|i| indent(&text[*i]) == least)
                    .collect()
            }
            Form::Json => {
                let names = starting(&|l| {
                    l.trim_start()
                        .trim_start_matches('{')
                        .trim_start()
                        .starts_with("\"name\"")
                });
                let least = names.iter().map(|i| indent(&text[*i])).min().unwrap_or(0);
                names
                    .into_iter()
                    .filter(|i| indent(&text[*i]) == least)
                    .collect()
            }
        };
        let starts = if starts.len() == tasks {
            starts
        } else {
            Vec::new()
        };
        Self { text, starts }
    }

    pub(super) fn of(&self, index: usize, field: Option<&str>) -> Option<usize> {
        let start = *self.starts.get(index)?;
        let end = self
            .starts
            .get(index + 1)
            .copied()
            .unwrap_or(self.text.len());
        let mut found = start;
        for part in field.unwrap_or_default().split('.') {
            let names = |line: &String| {
                line.match_indices(part).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    let after = line[at + part.len()..]
                        .trim_start_matches(['"', '\''])
                        .trim_start();
                    let whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
                    whole && (after.starts_with([':', '=']) || after.starts_with(['.', ']']))
                })
            };
            if part.is_empty() {
                break;
            }
            match (found..end).find(|i| names(&self.text[*i])) {
                Some(line) => found = line,
                None => break,
            }
        }
        Some(found + 1)
    }
}
