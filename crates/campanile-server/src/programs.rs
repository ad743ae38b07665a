//! How this node runs programs: what its settings come to on this machine, and what keeps a program that is run from
//! outliving its attempt or reaching the worker. Owns what people are told of that, at the start and by `doctor`; what
//! contains programs is `campanile_adapters::handlers`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile_adapters::handlers::{Allowed, Cells, CommandOptions, RunAs};
use nix::unistd::Uid;

use crate::config::{Cgroup, Settings};

/// Programs that run whatever their arguments say.
const INTERPRETERS: &[&str] = &[
    "ash", "awk", "bash", "busybox", "dash", "env", "find", "fish", "gawk", "ksh", "lua", "mawk",
    "nice", "node", "nohup", "perl", "php", "python", "python2", "python3", "ruby", "setsid", "sh",
    "ssh", "sudo", "su", "tclsh", "timeout", "xargs", "zsh",
];

/// What the process is in which a node runs.
#[derive(Debug, Clone)]
pub enum Host {
    /// Campanile's program and nothing else. It supervises its own programs, and whatever loses its parent below it comes
    /// from one of them.
    Own,
    /// A process with other children, which are not the node's to end; programs are supervised by this one.
    Shared {
        /// A program that supervises: [`CommandOptions::supervisor`].
        supervisor: PathBuf,
    },
}

/// How programs are run here.
#[derive(Debug)]
pub struct Programs {
    /// For the handler.
    pub options: CommandOptions,
    /// Why they have no cgroup, if they have none.
    no_cells: Option<String>,
}

impl Programs {
    /// What the settings come to. A node that runs no programs asks the machine for nothing.
    ///
    /// # Errors
    /// A user or a cgroup that can't be had; with what to do.
    pub fn of(settings: &Settings, host: &Host) -> Result<Self, String> {
        let node = &settings.node;
        if node.allow_commands.is_empty() || !node.roles.worker {
            return Ok(Self {
                options: CommandOptions::default(),
                no_cells: None,
            });
        }
        let run_as = node.run_as.as_deref().map(RunAs::from_here).transpose();
        let run_as = run_as.map_err(|message| format!("setting `run_as`: {message}"))?;
        let (cells, no_cells) = match node.cgroup {
            Cgroup::Off => (None, Some("`cgroup` is off".to_owned())),
            when => match (Cells::open(), when) {
                (Ok(cells), _) => (Some(cells), None),
                (Err(why), Cgroup::Required) => return Err(format!("setting `cgroup`: {why}")),
                (Err(why), _) => (None, Some(why)),
            },
        };
        let (adopts, supervisor) = match host {
            Host::Own => (true, PathBuf::from("/proc/self/exe")),
            Host::Shared { supervisor } => (false, supervisor.clone()),
        };
        let options = CommandOptions {
            allowed: Some(node.allow_commands.clone()),
            allowed_env: node.allow_env.clone(),
            run_as,
            cells,
            adopts,
            supervisor,
            grace: Duration::from_secs(5),
        };
        Ok(Self { options, no_cells })
    }

    /// What contains programs here, and what is left; and whether that is as it should be.
    #[must_use]
    pub fn containment(&self) -> Option<(bool, String)> {
        self.options.allowed.as_ref()?;
        let cells = self.options.cells.as_ref();
        let place =
            |cells: &Cells| format!("in a cgroup of its own below {}", cells.path().display());
        let why = self.no_cells.as_deref().unwrap_or_default();
        Some(match (&self.options.run_as, cells) {
            (Some(user), Some(cells)) if cells.is_tight_for(user.uid()) => (
                true,
                format!(
                    "programs run as `{}`, each {}: nothing that they start outlives its attempt",
                    user.name(),
                    place(cells)
                ),
            ),
            (Some(user), Some(cells)) => (
                false,
                format!(
                    "programs run as `{}`, each {}, which that user may write to, and so leave: give that folder to root",
                    user.name(),
                    place(cells)
                ),
            ),
            (Some(user), None) => (
                false,
                format!(
                    "programs run as `{}`, and can't reach their supervisor, which ends all that descends from them, one by one; \
                     without a cgroup ({why}) one that multiplies faster than it is looked for is ended late",
                    user.name()
                ),
            ),
            (None, cells) => {
                let uid = Uid::effective();
                let held = cells.map_or_else(
                    || format!("without a cgroup of their own ({why})"),
                    |cells| format!("each {}, which it can leave", place(cells)),
                );
                (
                    false,
                    format!(
                        "programs run as this worker's own user ({uid}), {held}: they can read this worker's files, signal it, \
                         and kill their supervisor; what they leave is then looked for and ended, but not what another service \
                         starts for them. Run the worker as root and set `run_as`"
                    ),
                )
            }
        })
    }

    /// Tells the log.
    pub fn tell(&self) {
        match self.containment() {
            None => {}
            Some((true, text)) => tracing::info!("{text}"),
            Some((false, text)) => tracing::warn!("{text}"),
        }
    }
}

/// Why an entry of the allow-list allows far more than it says; `None` = it does not.
#[must_use]
pub fn too_wide(entry: &Allowed) -> Option<String> {
    if entry.is_any() {
        return Some(
            "allow_commands is `*`: whoever may write tasks can run any program here".to_owned(),
        );
    }
    let name = Path::new(entry.program()).file_name()?.to_str()?;
    let is_interpreter = INTERPRETERS.contains(&name) || name.starts_with("python3.");
    (is_interpreter && !entry.is_pinned()).then(|| {
        format!(
            "allow_commands has `{entry}` with whatever arguments: whoever may write tasks can run any program here; pin its \
             arguments, as in `{0} /srv/jobs/*.{name}`",
            entry.program()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_with_whatever_arguments_is_any_program() {
        for (entry, wide) in [
            ("*", true),
            ("/bin/sh", true),
            ("/usr/bin/python3.12", true),
            ("/bin/sh /srv/jobs/*.sh", false),
            ("/usr/bin/df", false),
        ] {
            assert_eq!(too_wide(&entry.parse().unwrap()).is_some(), wide, "{entry}");
        }
    }
}
