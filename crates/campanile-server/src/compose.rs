//! The composition root: settings and adapters in, a running program out. Everything that the program is made of is
//! plugged together here and nowhere else; it decides nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use campanile::control::{self, Apply, Control};
use campanile::engine::{Handlers, Node, Parts, Settings as NodeSettings};
use campanile::id::Mint;
use campanile::port::clock::Clock;
use campanile::port::store;
use campanile::system::{Random, SystemClock};
use campanile_adapters::handlers::{self, Command, CommandOptions, Http, HttpOptions, supervise};

use crate::api::guard::Guard;
use crate::config::Settings;
use crate::http::{self, Listener, Serving, Views};
use crate::ports::Ports;
use crate::taskfile::{self, TaskFile};
use crate::token::{self, Expected};

/// How long a command that was told to stop may take before it is killed.
const COMMAND_GRACE: Duration = Duration::from_secs(5);

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be listened on, or its certificate can't be read.
    #[error(transparent)]
    Listen(#[from] http::Error),
    /// Nobody could ever be let in.
    #[error(
        "role `api` needs a token, and there is none: set `token` (CAMPANILE_TOKEN) or `token_file`; with a SQLite store one is made at the first start"
    )]
    NoToken,
    /// The file of the token can't be used.
    #[error("can't use the token in {}: {source}", path.display())]
    TokenFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP handler can't be built.
    #[error("can't {0}")]
    Handler(#[from] handlers::http::BuildError),
    /// The node did not start.
    #[error("can't start the node: the store is not available")]
    Node(#[source] store::Error),
    /// The task file can't be read.
    #[error(transparent)]
    TaskFile(#[from] taskfile::Error),
    /// The task file can't be applied.
    #[error("{place}: {source}")]
    Apply {
        /// File and line.
        place: String,
        /// Why.
        source: control::Error,
    },
}

/// The running program.
#[derive(Debug)]
pub struct App {
    /// Where it serves.
    pub address: SocketAddr,
    /// The token, if this start made it.
    pub new_token: Option<String>,
    /// What people ask of the system.
    pub control: Arc<Control>,
    /// The node.
    pub node: Node,
    /// The HTTP service.
    pub serving: Serving,
}

/// Starts everything.
///
/// # Errors
/// The first thing that can't be had; nothing is left running.
pub async fn start(settings: &Settings, ports: Ports) -> Result<App, Error> {
    start_with(settings, ports, |handlers| handlers).await
}

/// The same with more handlers: native ones, as a program has that embeds a worker.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    settings: &Settings,
    ports: Ports,
    more: impl FnOnce(Handlers) -> Handlers,
) -> Result<App, Error> {
    let random = Arc::new(Random::from_system());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (expected, new_token) = expected_token(settings, &random)?;
    let tasks = settings
        .node
        .tasks
        .as_deref()
        .map(TaskFile::read)
        .transpose()?;
    let listener = Listener::bind(&settings.http).await?;
    let address = listener.address();
    let parts = Parts {
        store: Arc::clone(&ports.store),
        lock: Arc::clone(&ports.lock),
        broker: ports.broker,
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        handlers: more(handlers(settings)?),
    };
    let node = Node::start(parts, node_settings(settings))
        .await
        .map_err(Error::Node)?;
    let waker = node.waker();
    let control = Arc::new(Control::new(control::Parts {
        store: Arc::clone(&ports.store),
        lock: Arc::clone(&ports.lock),
        clock,
        time: node.time(),
        mint: Arc::new(Mint::new(Arc::clone(&random))),
        random,
        on_work: Arc::new(move || waker.notify_one()),
    }));
    if let Some(tasks) = tasks
        && let Err(error) = apply(&control, &tasks).await
    {
        node.stop().await;
        return Err(error);
    }
    let serving = listener.serve(Views {
        control: settings.node.roles.api.then(|| Arc::clone(&control)),
        guard: Guard {
            token: expected,
            loopback: address.ip().is_loopback(),
        },
        metrics_public: settings.http.metrics_public,
        health: http::Health::new(&node, settings, ports.store, ports.lock),
        metrics: http::Metrics::of(&node),
    });
    Ok(App {
        address,
        new_token,
        control,
        node,
        serving,
    })
}

fn expected_token(
    settings: &Settings,
    random: &Random,
) -> Result<(Option<Expected>, Option<String>), Error> {
    if let Some(token) = &settings.http.token {
        return Ok((Some(Expected::of(token.reveal())), None));
    }
    if !settings.node.roles.api {
        return Ok((None, None));
    }
    let path = token::file_of(&settings.cluster.store).ok_or(Error::NoToken)?;
    match token::load_or_create(&path, random) {
        Ok((token, new)) => Ok((Some(Expected::of(&token)), new.then_some(token))),
        Err(source) => Err(Error::TokenFile { path, source }),
    }
}

fn handlers(settings: &Settings) -> Result<Handlers, Error> {
    let http = Http::new(HttpOptions {
        allow_private_targets: settings.node.allow_private_targets,
        ..HttpOptions::default()
    })?;
    let allowed = &settings.node.allow_commands;
    let command = Command::new(CommandOptions {
        allowed: (!allowed.is_empty()).then(|| allowed.clone()),
        supervisor: Path::new("/proc/self/exe").to_owned(),
        grace: COMMAND_GRACE,
    });
    debug_assert_eq!(supervise::VERB, crate::cli::SUPERVISE);
    Ok(Handlers::new()
        .http(Arc::new(http))
        .command(Arc::new(command)))
}

fn node_settings(settings: &Settings) -> NodeSettings {
    let (cluster, node) = (&settings.cluster, &settings.node);
    NodeSettings {
        name: node.name.clone(),
        scheduler: node.roles.scheduler,
        worker: node.roles.worker,
        api: node.roles.api,
        queues: node.queues.clone(),
        slots: node.slots,
        lock_ttl: cluster.lock_ttl,
        lease: node.lease,
        drain: node.drain,
        retention: cluster.retention,
        ..NodeSettings::default()
    }
}

async fn apply(control: &Control, file: &TaskFile) -> Result<(), Error> {
    let diff = control
        .apply(&file.tasks, Apply::default())
        .await
        .map_err(|source| Error::Apply {
            place: file.place_of_error(&source),
            source,
        })?;
    tracing::info!(
        created = diff.created.len(),
        changed = diff.changed.len(),
        unchanged = diff.unchanged.len(),
        "the task file is applied"
    );
    Ok(())
}
