//! `serve`, `migrate`, `config check`: what is done with a node's settings.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use campanile_adapters::sql;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::args::{Migrate, Settings as Args};
use super::out::Out;
use crate::api::problem::chain;
use crate::compose::{self, App};
use crate::config::{self, Environment, Scrub, Settings, Written};
use crate::failpoint;
use crate::lifecycle::{self, Signals};
use crate::{modes, ports, token};

/// `serve`
pub async fn run(args: Args, environment: &Environment, out: Out) -> Result<ExitCode, Failure> {
    let written = gather(args, environment)?;
    let settings = written.settings()?;
    if let Some(point) = environment.get(failpoint::VARIABLE) {
        failpoint::arm(point).map_err(Failure::Usage)?;
    }
    log(&settings.log, settings.cluster.scrub());
    for text in written.exposed() {
        tracing::warn!("{text}");
    }
    let (app, signals) = start(&settings).await?;
    if let Some(new) = &app.new_token {
        out.remark(format!(
            "A token was made for this store; it is not printed again (`campanile token show` does), and kept in {}:\n  {}",
            new.path.display(),
            new.token
        ));
        seen(&new.path);
    }
    tracing::info!(address = %app.address, name = settings.node.name, "the node runs");
    Ok(lifecycle::run(app, signals, settings.node.drain).await)
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

/// Starts a node; listens for signals first, so that none is missed.
pub(super) async fn start(settings: &Settings) -> Result<(App, Signals), Failure> {
    look_after_files(settings)?;
    let scrub = settings.cluster.scrub();
    let chain = |e: &dyn std::error::Error| scrub.clean(&chain(e)).into_owned();
    let signals = Signals::listen()
        .map_err(|e| Failure::Failed(format!("failed to listen for signals: {e}")))?;
    let ports = ports::open(settings)
        .await
        .map_err(|e| Failure::Failed(chain(&e)))?;
    let app = compose::start(settings, ports)
        .await
        .map_err(|e| match &e {
            compose::Error::Token(_) | compose::Error::TaskFile(_) => Failure::Usage(chain(&e)),
            _ => Failure::Failed(chain(&e)),
        })?;
    Ok((app, signals))
}

/// Where the log goes: standard error.
pub(super) fn log(log: &config::Log, scrub: Scrub) {
    let scrub = Arc::new(scrub);
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let color = !log.json && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || super::lines::OneLine {
            color,
            scrub: Arc::clone(&scrub),
        });
    if log.json {
        lines.json().init();
    } else {
        lines.with_ansi(color).with_target(false).init();
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
    let settings = written.shown();
    let value: Vec<_> = settings
        .iter()
        .map(|(name, value, source)| json!({ "setting": name, "value": value, "source": source }))
        .collect();
    out.show(&value, |out, _| {
        let rows = settings
            .iter()
            .map(|(name, value, source)| vec![(*name).to_owned(), value.clone(), source.clone()]);
        out.table(&["setting", "value", "source"], rows.collect());
    });
    for text in written.exposed() {
        out.remark(format!("warning: {text}"));
    }
    written.settings()?;
    Ok(())
}

/// `migrate`
pub async fn migrate(args: Migrate, environment: &Environment, out: Out) -> Result<(), Failure> {
    let settings = gather(args.settings, environment)?.settings()?;
    let url = settings.cluster.store.reveal();
    let scrub = settings.cluster.scrub();
    let failed = |e: sql::OpenError| Failure::Failed(scrub.clean(&chain(&e)).into_owned());
    let pending = sql::pending(url).await.map_err(failed)?;
    if !args.dry_run && !pending.is_empty() {
        ports::open_store(url, &settings.node.name)
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
