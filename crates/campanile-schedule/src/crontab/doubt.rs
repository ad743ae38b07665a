//! Whether a crontab is of the form that it was read as. Owns the signs that it is not, and the lists of words behind
//! them; it decides nothing: whoever reads the table asks.

use super::{Crontab, Entry, Form, NO_USER, Refused, is_user_name, take_word};

/// A sign that a table is of the other form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Counted from 1.
    pub line: usize,
    /// What is there, as a sentence's end.
    pub message: String,
}

impl Form {
    /// Whether a table that was read as this form may be of the other: every line of a user's table begins its command
    /// with what may well be a user, or a line of a system table names what is none. To be asked where nobody said
    /// which form it is: the wrong one runs other commands.
    #[must_use]
    pub fn doubt(self, table: &Crontab) -> Option<Doubt> {
        let names_user = |entry: &Entry| {
            let (first, rest) = take_word(&entry.command)?;
            let next = take_word(rest).map(|(next, _)| next)?;
            let runs = next.starts_with(['/', '$', '[', '.', '(']) || PROGRAMS.contains(&next);
            let user = is_user_name(first) && !PROGRAMS.contains(&first);
            let known = USERS.contains(&first) && !next.starts_with(['-', '>', '<', '|', '&', ';']);
            (user && (runs || known)).then(|| Doubt {
                line: entry.line,
                message: format!("`{first}` may be the user that `{next} …` runs as"),
            })
        };
        match self {
            Self::User => {
                let doubts: Vec<Doubt> = table.entries.iter().map_while(names_user).collect();
                let all = doubts.len() == table.entries.len();
                doubts.into_iter().next().filter(|_| all)
            }
            Self::System => {
                let odd = |refused: &&Refused| refused.reason.contains(NO_USER);
                let first = table.refused.iter().find(odd);
                first.map(|refused| Doubt {
                    line: refused.line,
                    message: refused.reason.clone(),
                })
            }
        }
    }
}

/// Words that are programs, or a shell's own, rather than users, where a command begins with them.
const PROGRAMS: &[&str] = &[
    "bash",
    "cat",
    "cd",
    "certbot",
    "chmod",
    "chown",
    "command",
    "cp",
    "curl",
    "date",
    "docker",
    "echo",
    "env",
    "exec",
    "export",
    "find",
    "flock",
    "for",
    "if",
    "ionice",
    "java",
    "logger",
    "ls",
    "make",
    "mkdir",
    "mv",
    "mysqldump",
    "nice",
    "node",
    "nohup",
    "npm",
    "perl",
    "pg_dump",
    "php",
    "python",
    "python3",
    "rm",
    "rsync",
    "ruby",
    "run-parts",
    "scp",
    "setsid",
    "sh",
    "sleep",
    "source",
    "ssh",
    "sudo",
    "systemctl",
    "tar",
    "test",
    "timeout",
    "touch",
    "wget",
    "zsh",
];

/// Users that machines have from the start, or from a package.
const USERS: &[&str] = &[
    "root", "www-data", "nobody", "daemon", "mail", "news", "list", "postgres", "mysql", "redis",
    "nginx", "apache", "jenkins", "gitlab", "ubuntu", "debian", "ec2-user", "munin", "smmsp",
    "logcheck", "amavis", "vmail", "postfix",
];
