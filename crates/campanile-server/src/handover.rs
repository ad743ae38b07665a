//! What the program was started with, out of the sight of the programs that it runs. Every program of the same user may
//! read the environment and the command line with which a process was started (/proc/PID/environ, /proc/PID/cmdline), and
//! nothing takes a token out of them again. So a node starts itself once more, before it has a thread: with an environment
//! that holds nothing secret, with passwords masked on the command line, and with what it was really given in a pipe that
//! is read once and closed. Then it forbids others of its user to look into its memory. Owns that second start and which
//! variables outlive it; what they mean is `config`'s.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use campanile_adapters::service_url::ServiceUrl;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;

use crate::config::Environment;

/// Names the descriptor from which the second start reads what the first was given.
pub const VARIABLE: &str = "CAMPANILE_HANDED_OVER";

/// Far more than the operating system lets an environment and a command line be.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The variables, beside ours, that a node's own libraries read and that are no secrets. Names that end in `_` stand for all
/// that begin so.
const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_",
    "LD_",
    "TZ",
    "TZDIR",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "TMPDIR",
    "MALLOC_",
    "RUST_",
    "LLVM_PROFILE_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NOTIFY_SOCKET",
    "WATCHDOG_",
    "LISTEN_",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "CREDENTIALS_DIRECTORY",
    "PGAPPNAME",
    "PGDATABASE",
    "PGHOST",
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGPORT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGUSER",
];

/// What the program was given when it was started.
#[derive(Clone)]
pub struct Given {
    /// The words of the command line, the program's name first.
    pub words: Vec<OsString>,
    /// The variables that are ours (`CAMPANILE_…`, those of secrets too), and who it is.
    pub environment: Environment,
    /// Whether this is the second start.
    is_hidden: bool,
    /// Whether libpq's variable for a password was set, which the second start does not have.
    pub had_pgpassword: bool,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Given({} variables)", self.environment.len())
    }
}

impl Given {
    /// Reads it: the one site of the program that does, once, before it has a second thread.
    ///
    /// # Errors
    /// What was to be handed over can't be read; with what to do.
    pub fn take() -> Result<Self, String> {
        let Some(descriptor) = std::env::var_os(VARIABLE) else {
            let all: Vec<_> = std::env::vars_os().collect();
            let words = std::env::args_os().collect();
            return Ok(Self::of(all, words, false));
        };
        let refused = |why: &dyn std::fmt::Display| {
            format!(
                "{VARIABLE} is this program's own, and what it names can't be read ({why}): unset it"
            )
        };
        let mut bytes = Vec::new();
        open(&descriptor)
            .and_then(|pipe| pipe.take(BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|error| refused(&error))?;
        let (variables, words) = unpack(&bytes).ok_or_else(|| refused(&"it is cut off"))?;
        let kept = std::env::vars_os().filter(|(name, _)| name != VARIABLE);
        Ok(Self::of(kept.chain(variables), words, true))
    }

    fn of(
        all: impl IntoIterator<Item = (OsString, OsString)>,
        words: Vec<OsString>,
        is_hidden: bool,
    ) -> Self {
        let mut had_pgpassword = false;
        let mut environment = HashMap::new();
        for (name, value) in all {
            had_pgpassword |= name == "PGPASSWORD";
            let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else {
                continue;
            };
            let ours = name.starts_with("CAMPANILE_") || name == "USER" || name == "LOGNAME";
            if ours && !value.is_empty() {
                environment.insert(name, value);
            }
        }
        Self {
            words,
            environment,
            is_hidden,
            had_pgpassword,
        }
    }

    /// Sees to it that no program of the same user can read what this process was given: does not return if it has to be
    /// started again for that. For a process with one thread.
    ///
    /// # Errors
    /// The operating system's.
    pub fn hide(&self) -> io::Result<()> {
        if !self.is_hidden {
            return Err(self.start_again());
        }
        // Others of this user can neither trace it nor read its memory, nor does it leave a core file.
        prctl::set_dumpable(false)?;
        Ok(())
    }

    fn start_again(&self) -> io::Error {
        let program = match std::env::current_exe() {
            Ok(path) if path.exists() => path,
            // It was replaced by an upgrade since.
            Ok(_) | Err(_) => "/proc/self/exe".into(),
        };
        let all = || std::env::vars_os();
        let handed = all().filter(|(name, _)| name.as_bytes().starts_with(b"CAMPANILE_"));
        let empty = std::iter::once(("PGPASSWORD".into(), OsString::new()));
        let handed = handed.chain(empty.filter(|_| self.had_pgpassword));
        let pipe = match fill(&pack(handed, &self.words)) {
            Ok(pipe) => pipe,
            Err(error) => return error,
        };
        let masked: Vec<OsString> = self.words.iter().map(|word| masked(word)).collect();
        let (name, words) = masked
            .split_first()
            .map_or((OsString::from("campanile"), &[][..]), |(name, words)| {
                (name.clone(), words)
            });
        Command::new(program)
            .arg0(name)
            .args(words)
            .env_clear()
            .envs(all().filter(|(name, _)| is_kept(name)))
            .env(VARIABLE, pipe.as_raw_fd().to_string())
            .exec()
    }
}

fn is_kept(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    KEPT.iter().any(|kept| {
        if kept.ends_with('_') {
            name.starts_with(kept)
        } else {
            name == *kept
        }
    })
}

/// A pipe that holds these bytes, whose end to read from outlives the next start.
fn fill(bytes: &[u8]) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    let length = i32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut room = fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?;
    if room < length {
        room = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(length))?;
    }
    if room < length {
        return Err(io::Error::other("the environment is too large for a pipe"));
    }
    writer.write_all(bytes)?;
    fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(reader)
}

/// The other end of what [`fill`] made. No descriptor of it is left open but the one that is handed back.
fn open(descriptor: &OsStr) -> io::Result<File> {
    let number: i32 = descriptor
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::other("it is no number"))?;
    let path = format!("/proc/self/fd/{number}");
    if !std::fs::read_link(&path)?
        .as_os_str()
        .as_bytes()
        .starts_with(b"pipe:")
    {
        return Err(io::Error::other("it is no pipe"));
    }
    let pipe = File::open(&path)?;
    nix::unistd::close(number)?;
    Ok(pipe)
}

/// `NAME=VALUE` for each variable, an empty one, the words; each ended by NUL, which none of them can hold.
fn pack(variables: impl IntoIterator<Item = (OsString, OsString)>, words: &[OsString]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in variables {
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
    out.push(0);
    for word in words {
        out.extend_from_slice(word.as_bytes());
        out.push(0);
    }
    out
}

type Unpacked = (Vec<(OsString, OsString)>, Vec<OsString>);

fn unpack(bytes: &[u8]) -> Option<Unpacked> {
    let mut pieces = bytes.strip_suffix(&[0])?.split(|byte| *byte == 0);
    let mut variables = Vec::new();
    for piece in pieces.by_ref().take_while(|piece| !piece.is_empty()) {
        let at = piece.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&piece[..at], &piece[at + 1..]);
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        variables.push((text(name), text(value)));
    }
    let words = pieces.map(|piece| OsString::from_vec(piece.to_vec()));
    Some((variables, words.collect()))
}

/// A word of the command line as everybody may read it.
fn masked(word: &OsStr) -> OsString {
    let Some(text) = word.to_str().filter(|text| text.contains("://")) else {
        return word.to_owned();
    };
    let (flag, url) = match text.split_once('=') {
        Some((flag, url)) if flag.starts_with("--") => (format!("{flag}="), url),
        _ => (String::new(), text),
    };
    let url = ServiceUrl::new(url);
    if url.has_secret() {
        format!("{flag}{}", url.shown()).into()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let odd = OsString::from_vec(vec![0xff, b'=']);
        let variables = vec![
            ("CAMPANILE_TOKEN".into(), "a=b\nc".into()),
            ("CAMPANILE_X".into(), odd.clone()),
        ];
        for words in [
            vec![],
            words(&["campanile"]),
            vec!["".into(), odd, "".into()],
        ] {
            let packed = pack(variables.clone(), &words);
            assert_eq!(unpack(&packed), Some((variables.clone(), words)));
        }
        assert_eq!(
            unpack(&pack([], &words(&["a"]))),
            Some((vec![], words(&["a"])))
        );
        for cut in [&b""[..], b"CAMPANILE_TOKEN=x", b"CAMPANILE_TOKEN\0\0"] {
            assert_eq!(unpack(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn passwords_on_the_command_line_are_masked_and_nothing_else() {
        for (word, shown) in [
            ("serve", "serve"),
            ("--store", "--store"),
            ("postgres://u:hush@h/d", "postgres://u:***@h/d"),
            (
                "--store=postgres://u:hush@h/d",
                "--store=postgres://u:***@h/d",
            ),
            ("--lock=redis://h:1", "--lock=redis://h:1"),
            ("--config=a=b", "--config=a=b"),
        ] {
            assert_eq!(masked(OsStr::new(word)), OsStr::new(shown));
        }
    }

    #[test]
    fn only_what_is_known_to_be_harmless_is_kept() {
        for (name, kept) in [
            ("PATH", true),
            ("LC_ALL", true),
            ("PGHOST", true),
            ("PGPASSWORD", false),
            ("CAMPANILE_TOKEN", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("PATHS", false),
        ] {
            assert_eq!(is_kept(OsStr::new(name)), kept, "{name}");
        }
    }

    #[test]
    fn ours_is_what_begins_with_our_name() {
        let all = [
            ("CAMPANILE_SECRET_A", "x"),
            ("CAMPANILE_NAME", ""),
            ("USER", "u"),
            ("HOME", "/"),
        ];
        let all = all.map(|(name, value)| (name.into(), value.into()));
        let given = Given::of(all, Vec::new(), false);
        let mut names: Vec<&str> = given.environment.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["CAMPANILE_SECRET_A", "USER"]);
    }
}
