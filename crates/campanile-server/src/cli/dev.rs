//! `dev`: everything in one process, with example tasks that fire at once, and what to try next. Nothing else needs to
//! be installed or configured.

use std::process::ExitCode;

use super::Failure;
use super::args::Dev;
use super::out::Out;
use super::serve;
use crate::compose::{self, App};
use crate::config::{Environment, Layer, Raw, Settings, Source, Written, find_key};
use crate::lifecycle;
use crate::taskfile::TaskFile;
use crate::token::{self, file::Owner};

/// The store of a `dev` that was given no folder.
pub const STORE: &str = "sqlite:./campanile-dev.db";

const EXAMPLES: &str = include_str!("../../assets/dev-tasks.toml");

/// What the example command runs: all that commands may run here.
const COMMAND: &str = "/usr/bin/df";

/// `dev`
pub async fn run(dev: &Dev, out: Out) -> Result<ExitCode, Failure> {
    let store = format!("sqlite:{}/campanile-dev.db", dev.data.display());
    std::fs::create_dir_all(&dev.data)
        .map_err(|e| Failure::Usage(format!("--data: can't make {}: {e}", dev.data.display())))?;
    let is_new = !dev.data.join("campanile-dev.db").exists();
    let settings = settings(dev, &store)?;
    drop(serve::log(
        &settings.log,
        settings.cluster.scrub(),
        settings.node.secrets.seen.clone(),
    ));
    let (app, signals) = serve::start(&settings, false).await?;
    if is_new {
        add_examples(&app).await?;
    }
    let path = token::file_of(&store).unwrap_or_default();
    let held = token::file::read(&path, Owner::Us)
        .map_err(|e| Failure::Failed(format!("failed to read the token: {e}")))?;
    greet(
        out,
        &app,
        held.first(),
        &dev.data.display().to_string(),
        is_new,
    );
    serve::seen(&path);
    Ok(lifecycle::run(app, signals, settings.node.drain, None).await)
}

fn settings(dev: &Dev, store: &str) -> Result<Settings, Failure> {
    let mut layer = Layer::new();
    for (name, value) in [
        ("store", store),
        ("listen", &dev.listen),
        ("name", "dev"),
        ("allow_commands", COMMAND),
        ("allow_private_targets", "true"),
        ("drain", "5s"),
        ("log_level", "warn"),
    ] {
        if let Some(key) = find_key(name) {
            layer.insert(
                key.name,
                Raw::split(value, key.kind, Source::Flag(key.flag())),
            );
        }
    }
    // The environment is not asked: `dev` is the same everywhere.
    Ok(Written::gather(layer, &Environment::new(), None)?.settings()?)
}

/// Puts the examples into a store that was made for them: in one that was there, what was changed or deleted stays so.
async fn add_examples(app: &App) -> Result<(), Failure> {
    let text = EXAMPLES.replace("{ADDRESS}", &app.address.to_string());
    let file = TaskFile::parse(&text, std::path::Path::new("examples.toml"))
        .map_err(|e| Failure::Failed(e.to_string()))?;
    compose::know_the_time(&app.control).await;
    for task in &file.definitions.tasks {
        let put = app.control.put_task(task).await;
        put.map_err(|e| {
            Failure::Failed(format!("failed to add the example `{}`: {e}", task.name))
        })?;
    }
    Ok(())
}

fn greet(out: Out, app: &App, token: &str, data: &str, is_new: bool) {
    let url = format!("http://{}", app.address);
    let (cd, set_url) = (
        if data == "." {
            String::new()
        } else {
            format!("cd {data} && ")
        },
        if app.address.port() == 7_070 {
            String::new()
        } else {
            format!("CAMPANILE_URL={url} ")
        },
    );
    let tasks = if is_new {
        format!(
            "Example tasks fire already: a check of this service every 2 s, the disks every 5 s, a cron line each minute,\n\
             and one that fails on purpose, so that you see retries. For them, and here alone, http handlers may reach this\n\
             machine and commands may run {COMMAND}."
        )
    } else {
        format!(
            "Its tasks are those that it had: examples come into a new store alone (another folder with --data makes one).\n\
             Here alone, http handlers may reach this machine and commands may run {COMMAND}."
        )
    };
    out.line(format!(
        "Campanile runs: scheduler, worker and API in one process, on {data}/campanile-dev.db\n\n\
         \u{20} page   {url}/\n\
         \u{20} token  {token}\n\n\
         {tasks}\n\n\
         Try, in another terminal:\n\
         \u{20} {cd}{set_url}campanile run list\n\
         \u{20} {cd}{set_url}campanile task trigger disk-usage\n\
         \u{20} {cd}{set_url}campanile why always-failing\n\n\
         Ctrl-C ends it; the next `campanile dev` goes on where this one stopped."
    ));
}
