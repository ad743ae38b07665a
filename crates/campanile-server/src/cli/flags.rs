//! Flags for the settings of a node, made from the table of settings.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{KEYS, Key, Kind, Layer, Raw, Source};

/// The settings that may be typed: what is typed is no secret.
fn typed() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| !key.secret)
}

/// The settings that were given as flags.
#[derive(Debug, Clone, Default)]
pub struct SettingFlags {
    /// By name.
    pub layer: Layer,
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for key in typed() {
            if let Some(value) = matches.get_one::<String>(key.name) {
                let raw = Raw::split(value, key.kind, Source::Flag(key.flag()));
                self.layer.insert(key.name, raw);
            }
        }
        Ok(())
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        typed().fold(command, |command, key| {
            let default = match (key.kind, key.default) {
                (Kind::Switch, _) | (_, "") => String::new(),
                (_, default) => format!(" [default: {default}]"),
            };
            let arg = Arg::new(key.name)
                .long(key.flag())
                .help(format!("{} [env: {}]{default}", key.help, key.env()))
                .action(ArgAction::Set);
            command.arg(match key.kind {
                Kind::Switch => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .value_name("BOOL")
                    .default_missing_value("true"),
                Kind::Text | Kind::List | Kind::Programs => arg.value_name(key.value),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
