//! The rules about words that don't belong in a commit: promises to finish later, tests switched off, and places that
//! exist on one machine only. Docs may name such words in code marks, to talk about them.

use super::{File, Finding};

/// Put together here, so that this file does not name what it forbids.
const LATER: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("#[", "ignore"),
];
/// Roots of absolute paths that only one machine has.
const MACHINE: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/tmp", "/wt/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];
/// Hosts that a build was pointed at. The lock file alone may name its source.
const REGISTRIES: [&str; 6] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("sparse", "+http"),
    concat!("registry", "+http"),
    concat!("registry.npm", "js.org"),
    concat!("pypi.org", "/simple"),
];
const LOCK_FILES: [&str; 2] = ["Cargo.lock", "package-lock.json"];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let prose = file.path.ends_with(".md");
    let locked = LOCK_FILES.contains(&file.name());
    for (at, line) in file.text.lines().enumerate() {
        let own_words = if prose {
            without_code_marks(line)
        } else {
            line.to_owned()
        };
        for word in LATER.iter().filter(|word| contains_word(&own_words, word)) {
            findings.push(file.finding(
                at + 1,
                format!("says `{word}`: do it now, or file it where work is planned"),
            ));
        }
        for root in MACHINE.iter().filter(|root| contains_root(line, root)) {
            findings.push(file.finding(at + 1, format!("names `{root}`, a place on one machine")));
        }
        for host in REGISTRIES
            .iter()
            .filter(|host| !locked && line.contains(**host))
        {
            findings.push(file.finding(
                at + 1,
                format!("names `{host}`: where packages come from is each machine's own"),
            ));
        }
    }
    findings
}

/// The word with no letter or digit around it.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        ![before, after]
            .into_iter()
            .flatten()
            .any(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The path where it starts, not as the middle of another one.
fn contains_root(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| {
            c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '}' | ')' | '~')
        })
    })
}

fn without_code_marks(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&file).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn each_forbidden_word_is_found() {
        for word in LATER.iter().chain(&MACHINE).chain(&REGISTRIES) {
            assert_eq!(
                found("a.rs", &format!("fine\n// {word} x\n")),
                [2],
                "{word}"
            );
        }
    }

    #[test]
    fn longer_words_and_longer_paths_are_fine() {
        for innocent in [
            format!("{}S", LATER[0]),
            format!("docs{}x", MACHINE[0]),
            format!("https://a.b{}x", MACHINE[0]),
        ] {
            assert_eq!(found("a.rs", &innocent), [] as [usize; 0], "{innocent}");
        }
    }

    #[test]
    fn docs_may_talk_about_them_in_code_marks() {
        let talk = format!("We write no `{}`.\n", LATER[0]);
        assert!(found("CONTRIBUTING.md", &talk).is_empty());
        assert_eq!(found("CONTRIBUTING.md", &talk.replace('`', "")), [1]);
        assert_eq!(found("a.rs", &talk), [1]);
    }

    #[test]
    fn the_lock_file_may_name_its_source() {
        let line = format!("source = \"{}s://x\"\n", REGISTRIES[3]);
        assert!(found("Cargo.lock", &line).is_empty());
        assert_eq!(found("a.toml", &line), [1]);
    }
}
