//! `serve`, `migrate`, `config check`: what is done with a node's settings.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use campanile_adapters::secrets::Seen;
use campanile_adapters::{open, sql};
use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Failure;
use super::args::{Migrate, Serve, Settings as Args};
use super::out::Out;
use super::reload::{Reload, SetFilter};
use super::repeats::Repeats;
use crate::compose::{self, App};
use crate::config::{self, Environment, Scrub, Settings, Written};
use crate::failpoint;
use crate::handover::Given;
use crate::lifecycle::{self, Signals};
use crate::{modes, token};
use campanile_core::actor::Actor;
use campanile_core::causes;
use campanile_core::decide::lead::hold::{Cause, Hold};
use campanile_core::port::store::{Error as StoreError, Store};

/// `serve`
pub async fn run(serve: Serve, given: &Given, out: Out) -> Result<ExitCode, Failure> {
    let (args, environment) = (serve.settings, &given.environment);
    let written = gather(args.clone(), environment)?;
    let settings = written.settings()?;
    if let Some(point) = environment.get(failpoint::VARIABLE) {
        failpoint::arm(point).map_err(Failure::Usage)?;
    }
    let given_out = settings.node.secrets.seen.clone();
    let set_filter = log(&settings.log, settings.cluster.scrub(), given_out);
    for text in written.exposed() {
        tracing::warn!("{text}");
    }
    if given.had_pgpassword {
        tracing::warn!(
            "PGPASSWORD is not used, because programs of this user could read it: write the password into the URL of `store` \
             (CAMPANILE_STORE), or into a file of mode 0600 that PGPASSFILE names"
        );
    }
    if settings.node.roles.worker {
        let said = config::look_over(&settings.node.secrets).into_iter();
        for (_, text) in said.filter(|(usable, _)| !usable) {
            tracing::warn!("{text}");
        }
    }
    let reload = Reload::new(args, environment.clone(), &written, set_filter);
    let (app, signals) = match start(&settings, serve.paused).await {
        Ok(started) => started,
        // Whoever reads the log reads nothing else.
        Err(failure) if settings.log.json => return Ok(failure.log()),
        Err(failure) => return Err(failure),
    };
    match &app.new_token {
        Some(new) if settings.log.json => {
            let file = new.path.display();
            tracing::warn!(%file, "a token was made for this store: it is in {file} (`campanile token show`)");
        }
        Some(new) => {
            out.remark(format!(
                "A token was made for this store; it is not printed again (`campanile token show` does), and kept in {}:\n  {}",
                new.path.display(),
                new.token
            ));
            seen(&new.path);
        }
        None => {}
    }
    tracing::info!(address = %app.address, name = settings.node.name, "the node runs");
    let again = |app: &App| reload.now(app);
    Ok(lifecycle::run(app, signals, settings.node.drain, Some(&again)).await)
}

/// Remembers that the token was shown.
pub(super) fn seen(path: &Path) {
    if let Err(error) = token::file::mark_seen(path) {
        tracing::warn!(%error, "can't remember that the token was shown: the next start shows it again");
    }
}

/// Looks at the files that the node's safety rests on, mends its own, and tells the log of others.
fn look_after_files(settings: &Settings) -> Result<(), Failure> {
    if let Some(path) = modes::database(settings.cluster.store.reveal()) {
        for text in modes::mend_database(&path).map_err(Failure::Usage)? {
            tracing::warn!("{text}");
        }
    }
    let key = settings.http.tls.as_ref().map(|(_, key)| key);
    if let Some(text) = key.and_then(|key| modes::of_key(key)) {
        tracing::warn!("{text}");
    }
    Ok(())
}

/// Starts a node; listens for signals first, so that none is missed. With `paused` the cluster is held before the node
/// joins it.
pub(super) async fn start(settings: &Settings, paused: bool) -> Result<(App, Signals), Failure> {
    look_after_files(settings)?;
    let scrub = settings.cluster.scrub();
    let told = |e: &dyn std::error::Error| scrub.clean(&causes(e)).into_owned();
    let signals = Signals::listen()
        .map_err(|e| Failure::Failed(format!("failed to listen for signals: {e}")))?;
    let ports = open::ports(&settings.urls(), sql::Migrate::Always)
        .await
        .map_err(|e| Failure::Failed(told(&e)))?;
    if paused {
        let held = hold(&*ports.store, &settings.node.name).await;
        held.map_err(|e| {
            Failure::Failed(format!(
                "failed to hold the cluster: failed to {}",
                told(&e)
            ))
        })?;
    }
    let app = compose::start(settings, ports)
        .await
        .map_err(|e| match &e {
            compose::Error::Token(_)
            | compose::Error::TaskFile(_)
            | compose::Error::Programs(_) => Failure::Usage(told(&e)),
            _ => Failure::Failed(told(&e)),
        })?;
    Ok((app, signals))
}

/// Holds the cluster, unless it is held already.
async fn hold(store: &dyn Store, node: &str) -> Result<(), StoreError> {
    let leader = store.leader().await?;
    if let Some(hold) = leader.hold {
        tracing::warn!("the cluster is held already, by {} ({})", hold.by, hold.why);
        return Ok(());
    }
    let actor = Actor::new(&format!("node {node}"), "this process");
    let hold = Hold {
        cause: Cause::Start,
        by: actor.name().to_owned(),
        why: "started with --paused".to_owned(),
        since: leader.now,
        until: None,
    };
    store.hold(&actor, Some(&hold)).await?;
    tracing::warn!("the cluster is held: nothing starts before `campanile hold end`");
    Ok(())
}

/// What is logged. The AMQP client below ours stays silent unless it is named: what it meets it hands to us, and it would
/// write whole messages into the log.
pub(super) fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    if text.trim().is_empty() || text.contains("lapin") {
        return EnvFilter::try_new(text);
    }
    EnvFilter::try_new(format!("{text},lapin=off"))
}

/// Where the log goes: standard error, and panics with it. Answers what sets its filter again.
pub(super) fn log(log: &config::Log, scrub: Scrub, seen: Seen) -> SetFilter {
    let scrub = Arc::new(scrub);
    let filter = filter(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let color = !log.json && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || super::lines::OneLine {
            color,
            scrub: Arc::clone(&scrub),
            seen: seen.clone(),
        })
        // What can't be written can't be complained about there either.
        .log_internal_errors(false);
    super::panics::go_to_the_log();
    let repeats = Repeats::new();
    repeats.tell();
    if log.json {
        let lines = lines.json().with_filter_reloading();
        let handle = lines.reload_handle();
        lines.finish().with(repeats).init();
        Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string()))
    } else {
        let lines = lines.with_ansi(color).with_target(false);
        let lines = lines.with_filter_reloading();
        let handle = lines.reload_handle();
        lines.finish().with(repeats).init();
        Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string()))
    }
}

/// Gathers the settings of all layers.
pub(super) fn gather(args: Args, environment: &Environment) -> Result<Written, config::Error> {
    let file = args
        .config
        .or_else(|| environment.get("CAMPANILE_CONFIG").map(PathBuf::from));
    Written::gather(args.flags.layer, environment, file.as_deref())
}

/// `config check`
pub fn check(args: Args, environment: &Environment, out: Out) -> Result<(), Failure> {
    let written = gather(args, environment)?;
    let named = written.shown().into_iter();
    let named = named.map(|(name, value, source)| (name.to_owned(), value, source));
    let settings: Vec<_> = named.chain(written.secrets_shown()).collect();
    let value: Vec<_> = settings
        .iter()
        .map(|(name, value, source)| json!({ "setting": name, "value": value, "source": source }))
        .collect();
    out.show(&value, |out, _| {
        let rows = settings
            .iter()
            .map(|(name, value, source)| vec![name.clone(), value.clone(), source.clone()]);
        out.table(&["setting", "value", "source"], rows.collect());
    });
    for text in written.exposed() {
        out.remark(format!("warning: {text}"));
    }
    let (mut wrongs, settings) = written.wrongs();
    if let Some(settings) = settings {
        for (_, text) in config::look_over(&settings.node.secrets)
            .iter()
            .filter(|(usable, _)| !usable)
        {
            out.remark(format!("warning: {text}"));
        }
        let urls = open::wrongs(&settings.urls()).into_iter();
        wrongs.extend(urls.map(|(key, message)| written.refused(key, message)));
    }
    let all: Vec<String> = wrongs.iter().map(ToString::to_string).collect();
    match all.is_empty() {
        true => Ok(()),
        false => Err(Failure::Usage(all.join("\nerror: "))),
    }
}

/// `migrate`
pub async fn migrate(args: Migrate, environment: &Environment, out: Out) -> Result<(), Failure> {
    let settings = gather(args.settings, environment)?.settings()?;
    let url = settings.cluster.store.reveal();
    let scrub = settings.cluster.scrub();
    let failed = |e: sql::OpenError| Failure::Failed(scrub.clean(&causes(&e)).into_owned());
    let pending = sql::pending(url).await.map_err(failed)?;
    if !args.dry_run && !pending.is_empty() {
        open::store(&settings.urls(), sql::Migrate::Always)
            .await
            .map_err(failed)?
            .close()
            .await;
    }
    let list: Vec<_> = pending
        .iter()
        .map(|m| json!({ "version": m.version, "name": m.name }))
        .collect();
    out.show(
        &json!({ "applied": !args.dry_run, "migrations": list }),
        |out, _| {
            for migration in &pending {
                out.line(format!("{} {}", migration.version, migration.name));
            }
            out.line(match (pending.is_empty(), args.dry_run) {
                (true, _) => "the store is up to date",
                (false, true) => "to be done: nothing was done (dry run)",
                (false, false) => "done",
            });
        },
    );
    Ok(())
}
