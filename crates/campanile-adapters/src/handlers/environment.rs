//! Which variables a worker lets tasks set for programs. Owns the names that no wildcard covers, because whoever sets them
//! decides what an allowed program does.

use std::fmt;
use std::str::FromStr;

use super::allow::shown;

/// A name of a variable that tasks may set: as it is, or with `*` at its end for all that begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedEnv(String);

impl FromStr for AllowedEnv {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let odd = |c: char| matches!(c, '=' | '*' | '\0') || c.is_whitespace();
        if text.is_empty() || name.contains(odd) {
            return Err(format!(
                "`{}` is no name of a variable: write it as in LANG, or APP_* for all that begin so",
                text.escape_debug()
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for AllowedEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AllowedEnv {
    fn covers(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name.starts_with(start) && !decides_what_runs(name),
            None => self.0 == name,
        }
    }
}

/// Why a task may not set one of these variables on this worker; `None` = it may set all.
pub(super) fn refused_env<'a>(
    names: impl IntoIterator<Item = &'a String>,
    allowed: &[AllowedEnv],
) -> Option<String> {
    let refused = |name: &&String| !allowed.iter().any(|entry| entry.covers(name));
    let names: Vec<&String> = names.into_iter().filter(refused).collect();
    let first = names.first()?;
    let all: Vec<String> = names.iter().map(|name| shown(name)).collect();
    let exact = if decides_what_runs(first) {
        "; by its whole name, because it can decide which code runs"
    } else {
        ""
    };
    Some(format!(
        "handler.command.env: `{}` is not among the variables that tasks may set on this worker: add it to the worker's \
         `--allow-env` ({}){exact}",
        shown(first),
        all.join(",")
    ))
}

/// Names that a loader, an interpreter or a common library goes by when it looks for code, for a program to start or for
/// the user's own settings. No wildcard covers them.
const POWERFUL: &str = "\
    BASHOPTS BASH_ENV BROWSER CDPATH CLASSPATH CURL_HOME EDITOR ENV EXINIT FPATH GCONV_PATH GETCONF_DIR \
    GNUMAKEFLAGS GNUPGHOME HOME HOSTALIASES IFS INPUTRC JAVA_HOME JAVA_OPTS JAVA_TOOL_OPTIONS \
    JDK_JAVA_OPTIONS KUBECONFIG LESSCLOSE LESSOPEN LOCALDOMAIN LOCPATH LOGNAME MAKEFILES MAKEFLAGS MANPAGER \
    MYSQL_HOME NIS_PATH NLSPATH OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES PAGER PATH PHPRC \
    PHP_INI_SCAN_DIR PROMPT_COMMAND PS4 RESOLV_HOST_CONF RES_OPTIONS RSYNC_RSH RUSTC RUSTC_WRAPPER RUSTFLAGS \
    SHELL SHELLOPTS SSH_ASKPASS SUDO_ASKPASS TCLLIBPATH TERMCAP TERMINFO TERMINFO_DIRS TMPDIR TZDIR USER \
    VIMINIT VISUAL WGETRC ZDOTDIR _JAVA_OPTIONS";

/// The same for all names that begin so.
const POWERFUL_BEGINNINGS: &str = "\
    BASH_FUNC_ BUNDLE_ CAMPANILE_ CARGO_ CORECLR_ COR_ DOTNET_ DYLD_ ELIXIR_ ERL_ GEM_ GIT_ GLIBC_ GO GTK_ \
    LD_ LUA_ MONO_ NODE_ NPM_CONFIG_ PERL PGSERVICE PGSYSCONFDIR PYTHON QT_ RUBY R_ XDG_ npm_config_";

fn decides_what_runs(name: &str) -> bool {
    let begins = |start: &str| name.starts_with(start);
    POWERFUL.split(' ').any(|whole| whole == name) || POWERFUL_BEGINNINGS.split(' ').any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(allowed: &[&str], name: &str) -> Option<String> {
        let allowed: Vec<AllowedEnv> = allowed.iter().map(|entry| entry.parse().unwrap()).collect();
        refused_env([&name.to_owned()], &allowed)
    }

    #[test]
    fn variables_are_set_by_name_and_those_that_decide_what_runs_by_their_whole_name() {
        assert_eq!(env(&["LANG"], "LANG"), None);
        assert_eq!(env(&["APP_*"], "APP_MODE"), None);
        assert_eq!(env(&["*"], "APP_MODE"), None);
        assert!(env(&[], "LANG").unwrap().contains("`--allow-env` (LANG)"));
        assert!(env(&["LANG"], "LANGUAGE").is_some());
        for powerful in [
            "PATH",
            "HOME",
            "LD_PRELOAD",
            "LD_DEBUG_OUTPUT",
            "DYLD_INSERT_LIBRARIES",
            "BASH_ENV",
            "ENV",
            "BASH_FUNC_x%%",
            "PERL5OPT",
            "PERL5LIB",
            "PYTHONWARNINGS",
            "PYTHONPATH",
            "BROWSER",
            "NODE_OPTIONS",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "IFS",
            "GCONV_PATH",
            "GIT_SSH_COMMAND",
            "CAMPANILE_RUN",
        ] {
            for wildcard in ["*", &format!("{}*", &powerful[..2])] {
                let said = env(&[wildcard], powerful).unwrap();
                assert!(said.contains("by its whole name"), "{said}");
            }
            assert_eq!(env(&[powerful], powerful), None);
        }
        for odd in ["", "A=B", "A*B", "A B", "**"] {
            assert!(odd.parse::<AllowedEnv>().is_err(), "{odd}");
        }
    }
}
