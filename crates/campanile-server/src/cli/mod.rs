//! The command line: reads what was typed, calls what does it, and says how it went. Exit status 0 is done, 1 failed,
//! 2 wrongly called or set up. Client commands are renderings of the API's answers.

mod args;
mod audit;
mod client;
mod cluster;
mod cron;
mod dev;
mod doctor;
mod flags;
mod follow;
mod hold;
mod import;
mod inbox;
mod instants;
mod lines;
mod out;
mod panics;
mod plan;
mod plan_text;
mod quarantine;
mod refusals;
mod reload;
mod repeats;
mod rules;
mod runs;
mod serve;
mod set;
mod target;
mod tasks;
mod tokens;
mod unreadable;
mod users;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::process::ExitCode;

use campanile_core::misread;
use clap::{CommandFactory as _, Parser as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::args::{Cli, Command};
use self::client::Client;
pub use self::out::Out;
use crate::api::input::REQUEST;
use crate::api::problem::Problem;
use crate::config;
use crate::document::{self, Form, path};
use crate::handover::Given;

/// The verb under which the program supervises a command.
pub const SUPERVISE: &str = campanile_adapters::handlers::supervise::VERB;

/// What is said of a token on the command line.
const TOKEN_TYPED: &str = "`--token` is refused: every user of this machine can read a command line (ps, /proc), and this \
     token may have been read by now. Write another into a file that only you can read (chmod 600) and name it with \
     --token-file (`token_file`, CAMPANILE_TOKEN_FILE), or set CAMPANILE_TOKEN in the environment";

/// Why a command did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// It was wrongly called, or the settings are wrong.
    Usage(String),
    /// It failed.
    Failed(String),
    /// The service refused.
    Refused(Box<Problem>),
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl Failure {
    fn parts(&self) -> (&str, u8) {
        match self {
            Self::Usage(text) => (text.as_str(), 2),
            Self::Failed(text) => (text.as_str(), 1),
            Self::Refused(problem) => (problem.detail.as_str(), 1),
        }
    }

    /// The same, with one field of the service under another name.
    fn renamed(self, field: &str, to: &str) -> Self {
        let Self::Refused(mut problem) = self else {
            return self;
        };
        let (from, to) = (format!("{field}: "), format!("{to}: "));
        problem.detail = problem.detail.replacen(&from, &to, 1);
        Self::Refused(problem)
    }

    /// The same, with a field that the service refuses under the name of the flag with which it was typed.
    fn by_flag(self, typed: &[String]) -> Self {
        let Self::Refused(mut problem) = self else {
            return self;
        };
        if let Some(field) = problem.field.as_deref() {
            let first = field.split(['.', '[']).next().unwrap_or_default();
            let flag = format!("--{}", first.replace('_', "-"));
            let given = |word: &String| {
                word.strip_prefix(&flag)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            };
            if !first.is_empty() && typed.iter().any(given) {
                let named = format!("{flag}{}: ", &field[first.len()..]);
                problem.detail = problem.detail.replacen(&format!("{field}: "), &named, 1);
            }
        }
        Self::Refused(problem)
    }

    /// Says it as a line of the log.
    fn log(&self) -> ExitCode {
        let (error, code) = self.parts();
        tracing::error!(error, "the node could not be started: {error}");
        ExitCode::from(code)
    }

    fn say(&self, out: Out) -> ExitCode {
        let (text, code) = self.parts();
        out.remark(format!("error: {text}"));
        ExitCode::from(code)
    }
}

/// Runs the program: the whole of `main`.
#[must_use]
pub fn run() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == SUPERVISE)
    {
        return campanile_adapters::handlers::supervise::main();
    }
    let given = match Given::take() {
        Ok(given) => given,
        Err(message) => return Failure::Usage(message).say(Out::default()),
    };
    // The error is that it was installed before, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse_from(&given.words);
    let out = match out_of(&cli.global) {
        Ok(out) => out,
        Err(failure) => return failure.say(Out::default()),
    };
    if cli.global.token.is_some() {
        return Failure::Usage(TOKEN_TYPED.to_owned()).say(out);
    }
    if matches!(cli.command, Command::Serve(_) | Command::Dev(_))
        && let Err(error) = given.hide()
    {
        let text = format!("failed to hide the environment from programs: {error}");
        return Failure::Failed(text).say(out);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Failed(format!("failed to start: {error}")).say(out),
    };
    let code = runtime
        .block_on(dispatch(cli, &given, out))
        .unwrap_or_else(|failure| {
            let typed = given.words.iter().map(|word| word.to_string_lossy());
            let typed: Vec<String> = typed.map(Cow::into_owned).collect();
            failure.by_flag(&typed).say(out)
        });
    // What still runs after a hard end is not waited for.
    runtime.shutdown_background();
    code
}

/// Where results go, and on whose wall their instants are shown.
fn out_of(global: &args::Global) -> Result<Out, Failure> {
    let zone = match &global.tz {
        None => None,
        Some(name) => {
            let known = campanile_schedule::TimeZoneName::parse(name);
            known.map_err(|e| Failure::Usage(format!("--tz: {e}")))?;
            // Once for the process.
            Some(&*name.clone().leak())
        }
    };
    Ok(Out {
        form: global.output,
        zone,
    })
}

async fn dispatch(cli: Cli, given: &Given, out: Out) -> Result<ExitCode, Failure> {
    let environment = &given.environment;
    let client = || Client::new(&cli.global, environment);
    let done = match cli.command {
        Command::Dev(dev) => return dev::run(&dev, out).await,
        Command::Serve(serve) => return serve::run(serve, given, out).await,
        Command::Apply(apply) => tasks::apply(&client()?, &apply, out).await,
        Command::Calendar(verb) => rules::calendar(&client()?, verb, out).await,
        Command::Limit(verb) => rules::limit(&client()?, verb, out).await,
        Command::Task(task) => tasks::run(&client()?, task, out).await,
        Command::Run(run) => runs::run(&client()?, *run, out).await,
        Command::Inbox(verb) => inbox::run(&client()?, verb, out).await,
        Command::Quarantine(verb) => quarantine::run(&client()?, verb, out).await,
        Command::Node(args::Node::List) => cluster::nodes(&client()?, out).await,
        Command::Leader(leader) => cluster::leader(&client()?, &leader, out).await,
        Command::Hold(hold) => hold::run(&client()?, &hold, out).await,
        Command::Queue(queue) => cluster::queue(&client()?, &queue, out).await,
        Command::Why(why) => cluster::why(&client()?, &why, out).await,
        Command::Plan(plan) => plan::run(&plan, client, out).await,
        Command::Cron(args::Cron::Next(next)) => cron::next(&next, out),
        Command::Cron(args::Cron::Explain(explain)) => cron::explain(&explain, out),
        Command::Import(import) => return import::run(&import, out),
        Command::Token(token) => tokens::run(token, environment, client, out).await,
        Command::User(verb) => users::user(&client()?, verb, out).await,
        Command::Session(verb) => users::session(&client()?, verb, out).await,
        Command::Whoami => users::whoami(&client()?, out).await,
        Command::Audit(verb) => audit::run(&client()?, verb, out).await,
        Command::Migrate(migrate) => serve::migrate(migrate, environment, out).await,
        Command::Doctor(settings) => return doctor::run(settings, environment, out).await,
        Command::Config(args::Config::Check(settings)) => serve::check(settings, environment, out),
        Command::Supervise => return Ok(campanile_adapters::handlers::supervise::main()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// From now on what goes wrong goes to the log, as with `serve`: for another program that starts nodes.
pub fn log_warnings() {
    let log = config::Log {
        json: false,
        filter: "warn".to_owned(),
    };
    drop(serve::log(
        &log,
        config::Scrub::default(),
        campanile_adapters::secrets::Seen::default(),
    ));
}

/// The help of every command, as one text: what the reference page is made of.
#[must_use]
pub fn reference() -> String {
    reference_of(Cli::command())
}

/// The same for another program.
#[must_use]
pub fn reference_of(command: clap::Command) -> String {
    fn add(out: &mut String, command: &mut clap::Command, path: &str) {
        let path = format!("{path}{}", command.get_name());
        let help = command
            .clone()
            .bin_name(&path)
            .render_long_help()
            .to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        out.push_str(&format!(
            "## {path}\n\n```text\n{}\n```\n\n",
            help.join("\n").trim_end()
        ));
        let names: Vec<String> = command
            .get_subcommands()
            .map(|c| c.get_name().to_owned())
            .collect();
        for name in names.iter().filter(|n| *n != "help" && *n != SUPERVISE) {
            if let Some(inner) = command.find_subcommand_mut(name) {
                add(out, inner, &format!("{path} "));
            }
        }
    }
    let mut command = command.term_width(100);
    command.build();
    let mut out = String::new();
    add(&mut out, &mut command, "");
    out
}

/// Whether these words, after the program's name, are a command: what pages tell people to type is checked with it.
///
/// # Errors
/// What the program would say.
pub fn knows(words: &[String]) -> Result<(), String> {
    let name = std::iter::once("campanile".to_owned());
    let read = Cli::try_parse_from(name.chain(words.iter().cloned()));
    read.map(drop).map_err(|e| e.to_string())
}

/// Reads JSON that was typed with a flag as what the field of that name holds.
fn typed_json<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Failure> {
    let sample = "write it as in '{\"day\": \"monday\"}' or '\"text\"'";
    if text.trim().is_empty() {
        return Err(Failure::Usage(format!("--{name} is empty: {sample}")));
    }
    let value = document::read(Form::Json, text).map_err(|wrong| {
        if wrong.path.is_empty() {
            let place = wrong.at.map_or(String::new(), |at| format!("{at}: "));
            let message = wrong.message;
            return Failure::Usage(format!("--{name} is not JSON: {place}{message}; {sample}"));
        }
        let field = path::text(&wrong.path);
        let dot = if field.starts_with('[') { "" } else { "." };
        Failure::Usage(format!("{name}{dot}{field}: {}", wrong.message))
    })?;
    let request = Value::Object([(name.to_owned(), value)].into_iter().collect());
    let read = misread::read::<BTreeMap<String, T>>(&request, &REQUEST);
    let read = read.map_err(|misread| Failure::Usage(format!("--{misread}")))?;
    let typed = read.into_values().next();
    typed.ok_or_else(|| Failure::Usage(format!("--{name} is empty: {sample}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_refuses_is_named_by_the_flag_that_was_typed() {
        for (typed, field, detail, expected) in [
            (
                "run list --since x",
                "since",
                "since: wrong",
                "--since: wrong",
            ),
            (
                "run submit --run-at=x",
                "run_at",
                "the body can't be taken: run_at: x",
                "the body can't be taken: --run-at: x",
            ),
            (
                "run submit --retry x",
                "retry.max",
                "retry.max: wrong",
                "--retry.max: wrong",
            ),
            (
                "run submit --file x",
                "runs[3].run_at",
                "runs[3].run_at: wrong",
                "runs[3].run_at: wrong",
            ),
            (
                "apply t.toml",
                "queue",
                "task `t`: queue: wrong",
                "task `t`: queue: wrong",
            ),
        ] {
            let words: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            let problem = Problem::bad(Some(field), detail);
            let failure = Failure::Refused(Box::new(problem)).by_flag(&words);
            assert_eq!(failure.parts().0, expected, "{typed}");
        }
    }
}
