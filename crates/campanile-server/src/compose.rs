//! The composition root: settings and adapters in, a running program out. Everything that the program is made of is
//! plugged together here and nowhere else; it decides nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use campanile::actor::Actor;
use campanile::control::{self, Control, Editor};
use campanile::engine::{Handlers, Node, Parts, Settings as NodeSettings};
use campanile::port::clock::Clock;
use campanile::port::store;
use campanile::system::{self, Random, SystemClock};
use campanile_adapters::handlers::{self, Command, CommandOptions, Http, HttpOptions};

use crate::api::bodies::Bodies;
use crate::api::guard::Guard;
use crate::config::Settings;
use crate::http::{self, Listener, Serving, Views};
use crate::ports::Ports;
use crate::taskfile::{self, TaskFile};
use crate::token::{self, Tokens, Unseen};

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be listened on, or its certificate can't be read.
    #[error(transparent)]
    Listen(#[from] http::Error),
    /// There is no token.
    #[error(transparent)]
    Token(#[from] token::Error),
    /// The HTTP handler can't be built.
    #[error("can't {0}")]
    Handler(#[from] handlers::http::BuildError),
    /// The node did not start.
    #[error("can't start the node: the store is not available")]
    Node(#[source] store::Error),
    /// The task file can't be read or applied.
    #[error(transparent)]
    TaskFile(#[from] taskfile::Error),
}

/// The running program.
#[derive(Debug)]
pub struct App {
    /// Where it serves.
    pub address: SocketAddr,
    /// The tokens in force, to be read anew when asked.
    pub tokens: Tokens,
    /// The token, as long as nobody has seen it.
    pub new_token: Option<Unseen>,
    /// What people ask of the system.
    pub control: Editor,
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
    let (tokens, new_token) = token::of(settings, &random)?;
    let named = settings.node.tasks.as_deref();
    let tasks = named.map(TaskFile::read).transpose()?;
    let listener = Listener::bind(&settings.http, settings.node.slots).await?;
    let address = listener.address();
    let parts = Parts {
        store: Arc::clone(&ports.store),
        lock: Arc::clone(&ports.lock),
        broker: Arc::clone(&ports.broker),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        handlers: more(handlers(settings)?),
    };
    warn_if_not_alone(settings, &*ports.store).await;
    let node = Node::start(parts, node_settings(settings))
        .await
        .map_err(Error::Node)?;
    let waker = node.waker();
    let control = Arc::new(Control::new(control::Parts {
        store: Arc::clone(&ports.store),
        lock: Arc::clone(&ports.lock),
        clock,
        time: node.time(),
        mint: node.mint(),
        meters: node.meters(),
        pool: node.pool(),
        random,
        on_work: Arc::new(move || waker.notify_one()),
    }));
    if let Some(tasks) = tasks
        && let Err(error) = apply(&tasks, &control).await
    {
        node.stop().await;
        return Err(error.into());
    }
    let serving = listener.serve(Views {
        control: settings.node.roles.api.then(|| Arc::clone(&control)),
        guard: Guard::new(
            tokens.clone(),
            address.ip().is_loopback(),
            settings.http.trusted_proxies.clone(),
        ),
        metrics_public: settings.http.metrics_public,
        health: http::Health::new(
            &node,
            settings,
            ports.store,
            ports.lock,
            ports.space.clone(),
        ),
        metrics: http::Metrics::of(&node, Arc::clone(&control), &settings.http.metrics_tasks),
        outside: http::Outside {
            broker: ports.broker,
            space: ports.space,
        },
        bodies: Bodies::of(&settings.http.doors, node.pool()),
    });
    Ok(App {
        address,
        tokens,
        new_token,
        control: control.by(Actor::new("this program", "this process")),
        node,
        serving,
    })
}

/// How long a start waits until this process knows the time, and how often it looks.
const CLOCK_WAIT: Duration = Duration::from_secs(60);
const CLOCK_LOOK: Duration = Duration::from_millis(200);

/// Applies the file of tasks that the node was started with.
async fn apply(tasks: &TaskFile, control: &Control) -> Result<(), taskfile::Error> {
    know_the_time(control).await;
    let actor = Actor::new("the file of tasks", "this process");
    tasks.apply(&control.by(actor)).await
}

/// Waits, for a while, until this process knows whether the store's clock is right: what is written before is refused.
pub async fn know_the_time(control: &Control) {
    let known = async {
        while !control.knows_the_time() {
            system::pause(CLOCK_LOOK).await;
        }
    };
    if system::within(CLOCK_WAIT, known).await.is_none() {
        tracing::warn!(
            "this node does not know yet whether the store's clock is right; `campanile doctor` compares the two"
        );
    }
}

/// `memory:` carries runs inside one process: two of them on one store would each wait for what lies in the other.
async fn warn_if_not_alone(settings: &Settings, store: &dyn store::Store) {
    if !settings.cluster.broker.reveal().starts_with("memory:") {
        return;
    }
    let others = store.nodes().await.unwrap_or_default();
    let names: Vec<&str> = others.iter().map(|node| node.name.as_str()).collect();
    if !names.is_empty() {
        let names = names.join("`, `");
        tracing::warn!(
            names,
            "`{names}` lives on this store too, or died moments ago, and `broker = \"memory:\"` carries runs inside one \
             process alone: what one of them publishes the other never gets. Stop one, or give all of them a broker"
        );
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
        grace: Duration::from_secs(5),
    });
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
        catch_up_per_second: cluster.catch_up_per_second,
        metrics_tasks: settings.http.metrics_tasks.clone(),
        ..NodeSettings::default()
    }
}
