//! The settings that are secrets, or lie where others could read them: which token setting counts, and what `serve`,
//! `doctor` and `config check` say about secrets in places that are not secret.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Hidden, KEYS, Key, Layer, Raw, ServiceUrl, Source, Written, Wrong};
use crate::modes;
use crate::token;

/// The settings that give a token: one choice, in two spellings.
const TOKENS: [&str; 2] = ["token", "token_file"];

/// Makes `token` and `token_file` one choice: flags decide before the file, and the file before the environment, whose
/// CAMPANILE_TOKEN and CAMPANILE_TOKEN_FILE are also those of client commands, and must neither stop nor change a node
/// that has a token of its own. Answers the variables that are left to clients.
pub(super) fn choose_token(
    flags: &Layer,
    file: &Layer,
    environment: &mut Layer,
    all: &mut BTreeMap<&'static str, Raw>,
) -> Vec<String> {
    let says = |layer: &Layer| TOKENS.iter().any(|name| layer.contains_key(name));
    if says(flags) && says(file) {
        // What the file says of a token is overruled whole, and must not stand beside the flag.
        for name in TOKENS {
            all.remove(name);
        }
    }
    let file_counts = says(file) && !says(flags);
    let mut left = Vec::new();
    if says(flags) || file_counts {
        for name in TOKENS {
            if let Some(raw) = environment.remove(name) {
                left.push(raw.source.to_string());
            }
        }
    } else if environment.contains_key("token_file")
        && let Some(raw) = environment.remove("token")
    {
        left.push(raw.source.to_string());
    }
    left
}

impl Written {
    /// The token that stands in the settings, or the file that holds it. Both are read, so that a weak one is refused.
    pub(super) fn token(&self) -> Result<(Option<Hidden>, Option<PathBuf>), Wrong> {
        match (self.text("token"), self.text("token_file")) {
            (Some(_), Some(_)) => {
                Err(self.wrong("token_file", "is given beside `token`: keep one of them"))
            }
            (Some(token), None) => {
                token::check(token).map_err(|m| self.wrong("token", m))?;
                Ok((Some(Hidden::new(token.to_owned())), None))
            }
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                token::file::read(&path, token::file::Owner::Anybody)
                    .map_err(|e| self.wrong("token_file", e.to_string()))?;
                Ok((None, Some(path)))
            }
            (None, None) => Ok((None, None)),
        }
    }

    /// Where a value is from, as people are told.
    pub(super) fn source_shown(&self, key: &Key, raw: &Raw) -> String {
        let name = key.env();
        if self.clients.contains(&name) {
            return format!(
                "{}; {name} of the environment is left to client commands, because the node has a token of its own",
                raw.source
            );
        }
        raw.source.to_string()
    }

    /// Secrets that others may read where they stand, each with the remedy.
    #[must_use]
    pub fn exposed(&self) -> Vec<String> {
        let mut out = Vec::new();
        for key in KEYS.iter().filter(|key| key.is_url()) {
            let Some(raw) = self.all.get(key.name) else {
                continue;
            };
            if matches!(raw.source, Source::Flag(_)) && self.holds_secret(key) {
                out.push(format!(
                    "the password in --{} stands on the command line, where every user of this machine can read it (ps, \
                     /proc): set {} in the environment, or `{}` in a file that is named by --config",
                    key.flag(),
                    key.env(),
                    key.name
                ));
            }
        }
        if let Some(path) = &self.file {
            let here = |key: &&Key| {
                let from_file = self
                    .all
                    .get(key.name)
                    .is_some_and(|raw| matches!(raw.source, Source::File(..)));
                from_file && self.holds_secret(key)
            };
            let secret: Vec<&str> = KEYS.iter().filter(here).map(|key| key.name).collect();
            if let (false, Some(who)) = (secret.is_empty(), modes::readable_by_others(path)) {
                out.push(format!(
                    "{} holds a secret (`{}`), and {who}: chmod 600 {0}",
                    path.display(),
                    secret.join("`, `")
                ));
            }
        }
        out
    }

    fn holds_secret(&self, key: &Key) -> bool {
        let Some(raw) = self.all.get(key.name).filter(|raw| !raw.parts.is_empty()) else {
            return false;
        };
        key.secret || (key.is_url() && ServiceUrl::new(raw.parts.join(",")).has_secret())
    }
}
