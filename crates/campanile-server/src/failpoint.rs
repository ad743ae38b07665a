//! Arms one failpoint of this process, as `CAMPANILE_FAILPOINT` says: `NAME`, `NAME:COUNT`, `NAME:COUNT:kill`,
//! `NAME:COUNT:stop` or `NAME:COUNT:panic`. For tests: a program that is shipped has no failpoints, and refuses the variable by name as it
//! refuses every other that is no setting. The points themselves are `campanile_core::failpoint`'s.

use std::io::Write as _;

use campanile_core::failpoint::{self, Failpoint};
use nix::sys::signal::{Signal, raise};

/// The variable that names the point.
pub const VARIABLE: &str = "CAMPANILE_FAILPOINT";

/// What a text asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub point: Failpoint,
    /// Which time that it is reached, counted from 1.
    pub count: u32,
    /// What becomes of the process there.
    pub way: Way,
}

/// What becomes of a process at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It dies (SIGKILL).
    Kill,
    /// It stops (SIGSTOP).
    Stop,
    /// The thread that reached the point panics.
    Panic,
}

/// Reads `NAME[:COUNT[:kill|:stop|:panic]]`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn read(text: &str) -> Result<Wanted, String> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let point = Failpoint::find(name).ok_or_else(|| {
        format!("`{name}` is no failpoint: docs/contribute/failpoints.md lists them")
    })?;
    let count = match parts.next().map(str::parse) {
        None => 1,
        Some(Ok(count)) if count > 0 => count,
        Some(_) => return Err(format!("`{text}`: write a count from 1 behind the name")),
    };
    let way = match parts.next() {
        None | Some("kill") => Way::Kill,
        Some("stop") => Way::Stop,
        Some("panic") => Way::Panic,
        Some(other) => return Err(format!("`{other}`: write kill, stop or panic")),
    };
    if parts.next().is_some() {
        return Err(format!(
            "`{text}`: write NAME:COUNT:kill, NAME:COUNT:stop or NAME:COUNT:panic"
        ));
    }
    Ok(Wanted { point, count, way })
}

/// Arms this process as the text says.
///
/// # Errors
/// As [`read`].
pub fn arm(text: &str) -> Result<(), String> {
    let wanted = read(text)?;
    let act = move |point: Failpoint| {
        let (word, signal) = match wanted.way {
            Way::Stop => ("stops", Signal::SIGSTOP),
            Way::Kill => ("dies", Signal::SIGKILL),
            Way::Panic => panic!("failpoint {} reached", point.name()),
        };
        // Past the log, whose lines a death could swallow: what a test waits for.
        let line = format!("failpoint {} reached: the process {word}\n", point.name());
        let _ = std::io::stderr().write_all(line.as_bytes());
        // A signal to oneself can't be refused.
        let _ = raise(signal);
    };
    if failpoint::arm(wanted.point, wanted.count, Box::new(act)) {
        Ok(())
    } else {
        Err("this program has no failpoints, or one is armed already".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_when_and_what() {
        let of = |count, way| Wanted {
            point: Failpoint::FireCommitted,
            count,
            way,
        };
        assert_eq!(read("fire.committed"), Ok(of(1, Way::Kill)));
        assert_eq!(read("fire.committed:2"), Ok(of(2, Way::Kill)));
        assert_eq!(read("fire.committed:3:stop"), Ok(of(3, Way::Stop)));
        assert_eq!(read("fire.committed:3:panic"), Ok(of(3, Way::Panic)));
        for wrong in [
            "",
            "fire",
            "fire.committed:0",
            "fire.committed:1:x",
            "fire.committed:1:kill:y",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
