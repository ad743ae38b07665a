//! The composition root: settings and adapters in, a running program out. Everything that the program is made of is
//! plugged together here and nowhere else; it decides nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use campanile_adapters::handlers::{self, Cells, Command, Http, HttpOptions};
use campanile_adapters::open::Ports;
use campanile_adapters::secrets::Vault;
use campanile_ask::{Control, Editor};
use campanile_core::actor::Actor;
use campanile_core::engine::{Handlers, Node, Parts, Settings as NodeSettings};
use campanile_core::port::clock::Clock;
use campanile_core::port::store;
use campanile_core::system::{Random, SystemClock};
use campanile_login::oidc;
use campanile_login::store::LoginStore;

use crate::access::cookies::Cookies;
use crate::access::{self, Access};
use crate::api::bodies::Bodies;
use crate::api::guard::Guard;
use crate::config::{self, Settings};
use crate::http::{self, Listener, Serving, Views};
use crate::programs::{Host, Programs};
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
    /// Programs can't be run as the settings say.
    #[error("{0}")]
    Programs(String),
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
    /// The tokens in force, to be read again when asked.
    pub tokens: Tokens,
    /// The token, as long as nobody has seen it.
    pub new_token: Option<Unseen>,
    /// What people ask of the system.
    pub control: Editor,
    /// The node.
    pub node: Node,
    /// The HTTP service.
    pub serving: Serving,
    /// Where its programs have their cgroups, to be taken away at the end.
    pub cells: Option<Cells>,
}

/// Starts everything, in a process that is Campanile's program and nothing else.
///
/// # Errors
/// The first thing that can't be had; nothing is left running.
pub async fn start(settings: &Settings, ports: Ports) -> Result<App, Error> {
    start_with(settings, ports, &Host::Own, |handlers| handlers).await
}

/// The same in any process, with more handlers: native ones, as a program has that embeds a worker.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    settings: &Settings,
    ports: Ports,
    host: &Host,
    more: impl FnOnce(Handlers) -> Handlers,
) -> Result<App, Error> {
    let random = Arc::new(Random::from_system());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (tokens, new_token) = token::of(settings, &random)?;
    let named = settings.node.tasks.as_deref();
    let tasks = named.map(TaskFile::read).transpose()?;
    let listener = Listener::bind(&settings.http, settings.node.slots).await?;
    let address = listener.address();
    let programs = Programs::of(settings, host).map_err(Error::Programs)?;
    programs.tell();
    let cells = programs.options.cells.clone();
    let parts = Parts {
        store: Arc::clone(&ports.store),
        lock: Arc::clone(&ports.lock),
        broker: Arc::clone(&ports.broker),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        handlers: more(handlers(settings, programs)?),
    };
    warn_if_not_alone(settings, &*ports.store).await;
    let node = Node::start(parts, node_settings(settings))
        .await
        .map_err(Error::Node)?;
    let control = ask(&ports, &node, clock, random);
    let control = Arc::new(control.masking(settings.masks.clone()));
    if let Some(tasks) = tasks
        && let Err(error) = apply(&tasks, &control).await
    {
        node.stop().await;
        return Err(error.into());
    }
    let serving = listener.serve(Views {
        control: settings.node.roles.api.then(|| Arc::clone(&control)),
        guard: guard(settings, ports.logins, &control, &tokens, address)?,
        metrics_public: settings.http.metrics_public,
        health: http::Health::new(
            &node,
            settings,
            ports.store,
            ports.lock,
            ports.space.clone(),
        ),
        metrics: http::Exposition::of(&node, Arc::clone(&control), &settings.http),
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
        cells,
    })
}

/// What people ask of this node.
fn ask(ports: &Ports, node: &Node, clock: Arc<dyn Clock>, random: Arc<Random>) -> Control {
    let waker = node.waker();
    Control::new(campanile_ask::Parts {
        store: Arc::clone(&ports.store),
        lock: Arc::clone(&ports.lock),
        clock,
        time: node.time(),
        mint: node.mint(),
        metrics: node.metrics(),
        pool: node.pool(),
        random,
        on_work: Arc::new(move || waker.notify_one()),
    })
}

/// Who may ask.
fn guard(
    settings: &Settings,
    logins: Option<Arc<dyn LoginStore>>,
    control: &Arc<Control>,
    tokens: &Tokens,
    address: SocketAddr,
) -> Result<Guard, Error> {
    let http = &settings.http;
    let people = match logins.filter(|_| settings.node.roles.api) {
        Some(logins) => Some(people(settings, logins, control, address)?),
        None => None,
    };
    let guard = Guard::new(
        tokens.clone(),
        address.ip().is_loopback(),
        http.trusted_proxies.clone(),
    );
    let guard = guard.over(Arc::clone(control));
    Ok(guard.with_people(people, http.access.origin.clone()))
}

/// How people get in.
fn people(
    settings: &Settings,
    logins: Arc<dyn LoginStore>,
    control: &Arc<Control>,
    address: SocketAddr,
) -> Result<Arc<Access>, Error> {
    let http = &settings.http;
    let oidc = match &http.access.oidc {
        Some(oidc) => Some((provider(oidc)?, oidc.grants.clone())),
        None => None,
    };
    let https = http.tls.is_some() || http.access.is_https();
    Ok(Arc::new(Access::new(access::Parts {
        logins,
        control: Arc::clone(control),
        random: Arc::new(Random::from_system()),
        cookies: Cookies::of(https, address.ip().is_loopback()),
        origin: http.access.origin.clone(),
        proxy: http.access.proxy.clone(),
        oidc,
        proxies: Arc::new(http.trusted_proxies.clone()),
    })))
}

/// An identity provider, to be asked.
///
/// # Errors
/// There can be no client.
pub fn provider(oidc: &config::Oidc) -> Result<oidc::Client, Error> {
    let endpoint = oidc::Endpoint {
        issuer: oidc.issuer.clone(),
        client_id: oidc.client_id.clone(),
        client_secret: oidc.client_secret.as_ref().map(|s| s.reveal().to_owned()),
        scopes: oidc.scopes.clone(),
        redirect_uri: oidc.redirect_uri.clone(),
        user_claim: oidc.user_claim.clone(),
        groups_claim: oidc.groups_claim.clone(),
    };
    let web = Arc::new(handlers::Web::new()?);
    Ok(oidc::Client::new(
        endpoint,
        web,
        Arc::new(SystemClock::new()),
    ))
}

/// Applies the file of tasks that the node was started with.
async fn apply(tasks: &TaskFile, control: &Control) -> Result<(), taskfile::Error> {
    know_the_time(control).await;
    let actor = Actor::new("the file of tasks", "this process");
    tasks.apply(&control.by(actor)).await
}

/// Waits, for a while, until this process knows whether the store's clock is right: what is written before is refused.
pub async fn know_the_time(control: &Control) {
    if !control.know_the_time().await {
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
             process alone: what one of them publishes the other never gets. Stop one, or give all of them a broker: `store:` needs \
             nothing more"
        );
    }
}

fn handlers(settings: &Settings, programs: Programs) -> Result<Handlers, Error> {
    let http = Http::new(HttpOptions {
        allow_private_targets: settings.node.allow_private_targets,
        ..HttpOptions::default()
    })?;
    let command = Command::new(programs.options);
    Ok(Handlers::new()
        .http(Arc::new(http))
        .command(Arc::new(command))
        .secrets(Arc::new(Vault::new(settings.node.secrets.clone()))))
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
        log_bytes_max: node.log_bytes_max,
        drain: node.drain,
        retention: cluster.retention,
        audit_retention: cluster.audit_retention,
        catch_up_per_second: cluster.catch_up_per_second,
        metrics_tasks: settings.http.metrics_tasks.clone(),
        ..NodeSettings::default()
    }
}
