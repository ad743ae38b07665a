//! A private RabbitMQ, one node or a cluster of three, with names, a cookie and a port mapper (epmd) of its own, so that
//! it never meets the machine's. On loopback alone; it survives `kill9` and `restart` with all that it stored.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::sys::signal::Signal;

use super::process::Process;
use super::temp::{TempDir, free_port};
use super::{Error, accepts, on_path, wait_ready, write_config};

/// Names the ports of the instance that a whole test run shares: `AMQP,STOMP`.
pub const SHARED_VARIABLE: &str = "CAMPANILE_TEST_RABBITMQ";
const PACKAGES: [&str; 1] = ["rabbitmq-server"];
/// The script itself: the one on the path wants the system's user.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Where its tools are, likewise.
const TOOLS: &str = "/usr/lib/rabbitmq/bin";
const COOKIE: &str = "onlyfortests";
/// A node that stands still is given up by the others after this many seconds; without it after a minute.
const NET_TICK_SECONDS: u32 = 8;

/// Files of a certificate, in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The authority's.
    pub ca: PathBuf,
    /// The server's.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What an instance is to be like.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name and password of the one user; `None` = guest, guest.
    pub user: Option<(String, String)>,
    /// Listens with TLS, too.
    pub certificate: Option<Certificate>,
    /// A whole configuration in place of the usual one: it listens on 0.0.0.0:5672 and 0.0.0.0:5671 (TLS), which become
    /// this instance's ports on loopback.
    pub config: Option<String>,
    /// A whole advanced configuration in place of the usual one.
    pub advanced: Option<String>,
}

/// One private RabbitMQ node.
#[derive(Debug)]
pub struct RabbitMq {
    amqp: u16,
    amqps: u16,
    stomp: u16,
    /// `None` when it is the run's shared one, which somebody else owns.
    own: Option<Node>,
}

#[derive(Debug)]
struct Node {
    // Before the folder, so that it is ended first.
    process: Mutex<Process>,
    name: String,
    dist: u16,
    options: Options,
    /// The other nodes of its cluster, which it looks for at its first start.
    peers: Vec<String>,
    family: Arc<Family>,
}

/// What the nodes of one cluster share.
#[derive(Debug)]
struct Family {
    _mapper: Process,
    mapper_port: u16,
    folder: TempDir,
}

impl RabbitMq {
    /// Starts a node.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's package, [`Error::Failed`] when it doesn't start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(Options::default())
    }

    /// Starts a node with these options.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: Options) -> Result<Self, Error> {
        let family = Arc::new(Family::new()?);
        let node = Self::launch("one@localhost", Vec::new(), options, &family)?;
        node.wait_ready()?;
        Ok(node)
    }

    /// Starts a cluster of three nodes. The first is alone at first, so that there is one cluster and never two.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_cluster() -> Result<[Self; 3], Error> {
        let family = Arc::new(Family::new()?);
        let names = ["one@localhost", "two@localhost", "three@localhost"];
        let launch = |name: &str| {
            let peers = names.iter().map(|n| (*n).to_owned()).collect();
            Self::launch(name, peers, Options::default(), &family)
        };
        let first = launch(names[0])?;
        first.wait_ready()?;
        let second = launch(names[1])?;
        let third = launch(names[2])?;
        second.wait_ready()?;
        third.wait_ready()?;
        Ok([first, second, third])
    }

    /// The instance of this test run; without one, an instance shared by this process.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn shared() -> Result<Arc<Self>, Error> {
        static HERE: Mutex<Weak<RabbitMq>> = Mutex::new(Weak::new());
        let mut here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = here.upgrade() {
            return Ok(broker);
        }
        let broker = match shared_ports() {
            Some((amqp, stomp)) => Self {
                amqp,
                amqps: 0,
                stomp,
                own: None,
            },
            None => Self::start()?,
        };
        let broker = Arc::new(broker);
        *here = Arc::downgrade(&broker);
        Ok(broker)
    }

    /// Its AMQP 0-9-1 port on 127.0.0.1.
    #[must_use]
    pub const fn amqp_port(&self) -> u16 {
        self.amqp
    }

    /// Its port for AMQP 0-9-1 over TLS; nobody listens there without a certificate.
    #[must_use]
    pub const fn amqps_port(&self) -> u16 {
        self.amqps
    }

    /// Its STOMP port on 127.0.0.1.
    #[must_use]
    pub const fn stomp_port(&self) -> u16 {
        self.stomp
    }

    /// Its URL for the user that it begins with: `amqp://guest:guest@127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.amqp)
    }

    /// Whether it takes connections.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        let tls = self
            .own
            .as_ref()
            .map(|own| own.options.certificate.is_some());
        accepts(self.amqp) && (tls != Some(true) || accepts(self.amqps))
    }

    /// Asks or tells the node by its own tool.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the tool said.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn control(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new("rabbitmqctl");
        command.arg("-q").args(arguments);
        super::process::output_of(self.beside(&mut command))
            .map_err(|why| Error::failed(format!("rabbitmqctl {}", arguments.join(" ")), why))
    }

    /// The command in this node's surroundings: the `rabbitmqctl` that it runs speaks to this node.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn beside<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let own = self.own();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{TOOLS}:{path}"))
            .env("HOME", own.family.folder.path())
            .env("ERL_EPMD_PORT", own.family.mapper_port.to_string())
            .env("RABBITMQ_NODENAME", &own.name)
            .env("RABBITMQ_CONF_ENV_FILE", own.family.folder.join("none"))
    }

    /// Kills it at once; what it confirmed stays in its store.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn kill9(&self) {
        self.process().kill9_family();
    }

    /// Halts it where it stands: connections stay open and nothing answers.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn pause(&self) {
        self.process().signal_family(Signal::SIGSTOP);
    }

    /// Lets a paused node go on.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn resume(&self) {
        self.process().signal_family(Signal::SIGCONT);
    }

    /// Starts it again on the same store and ports (a running one is killed first).
    ///
    /// # Errors
    /// [`Error::Failed`] when it doesn't come back.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn restart(&self) -> Result<(), Error> {
        self.kill9();
        let own = self.own();
        *self.process() = own.spawn((self.amqp, self.amqps, self.stomp))?;
        self.wait_ready()
    }

    /// The folder of its files and logs.
    ///
    /// # Panics
    /// On the shared instance.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.own().family.folder.path()
    }

    fn launch(
        name: &str,
        peers: Vec<String>,
        options: Options,
        family: &Arc<Family>,
    ) -> Result<Self, Error> {
        let (amqp, amqps, stomp) = (free_port(), free_port(), free_port());
        let (name, dist) = (name.to_owned(), free_port());
        let process = family.spawn(&name, dist, (amqp, amqps, stomp), &options, &peers)?;
        Ok(Self {
            amqp,
            amqps,
            stomp,
            own: Some(Node {
                process: Mutex::new(process),
                name,
                dist,
                options,
                peers,
                family: Arc::clone(family),
            }),
        })
    }

    fn own(&self) -> &Node {
        let Some(own) = &self.own else {
            panic!("the run's shared RabbitMQ is not ours to break: start a private one")
        };
        own
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        let process = &self.own().process;
        process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_ready(&self) -> Result<(), Error> {
        wait_ready("RabbitMQ", &self.process(), || self.is_accepting())
    }
}

impl Node {
    fn spawn(&self, ports: (u16, u16, u16)) -> Result<Process, Error> {
        self.family
            .spawn(&self.name, self.dist, ports, &self.options, &self.peers)
    }
}

impl Family {
    fn new() -> Result<Self, Error> {
        if !missing().is_empty() {
            return Err(Error::Missing {
                packages: PACKAGES.to_vec(),
            });
        }
        let failed = |error| Error::failed("make a folder for RabbitMQ", error);
        let folder = TempDir::new("rabbitmq").map_err(failed)?;
        let cookie = folder.join(".erlang.cookie");
        write_config(&cookie, COOKIE)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(&cookie, private).map_err(failed)?;
        let mapper_port = free_port();
        let mut command = Command::new("epmd");
        command.args(["-port", &mapper_port.to_string(), "-address", "127.0.0.1"]);
        let mapper = Process::spawn(&command, &folder.join("epmd.log"))
            .map_err(|error| Error::failed("start epmd", error))?;
        wait_ready("epmd", &mapper, || accepts(mapper_port))?;
        Ok(Self {
            _mapper: mapper,
            mapper_port,
            folder,
        })
    }

    fn spawn(
        &self,
        name: &str,
        dist: u16,
        (amqp, amqps, stomp): (u16, u16, u16),
        options: &Options,
        peers: &[String],
    ) -> Result<Process, Error> {
        let at = |file: &str| self.folder.join(&format!("{name}-{file}"));
        let text = config((amqp, amqps, stomp), options, peers);
        write_config(&at("rabbitmq.conf"), &text)?;
        let tick = format!("[{{kernel,[{{net_ticktime,{NET_TICK_SECONDS}}}]}}].\n");
        let advanced = options.advanced.as_ref().unwrap_or(&tick);
        write_config(&at("advanced.config"), advanced)?;
        write_config(&at("plugins"), "[rabbitmq_stomp,rabbitmq_amqp1_0].\n")?;
        write_config(&self.folder.join("none"), "")?;
        let mut command = Command::new(PROGRAM);
        command
            .env("HOME", self.folder.path())
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", name)
            .env("RABBITMQ_DIST_PORT", dist.to_string())
            .env("RABBITMQ_BASE", self.folder.path())
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", self.folder.join("none"))
            .env("RABBITMQ_PID_FILE", at("pid"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            .current_dir(self.folder.path());
        Process::spawn(&command, &at("out.log"))
            .map_err(|error| Error::failed("start RabbitMQ", error))
    }
}

fn config(ports: (u16, u16, u16), options: &Options, peers: &[String]) -> String {
    let (amqp, amqps, stomp) = ports;
    let mut lines = vec![format!("stomp.listeners.tcp.1 = 127.0.0.1:{stomp}")];
    match &options.config {
        Some(text) => lines.push(
            text.replace("0.0.0.0:5672", &format!("127.0.0.1:{amqp}"))
                .replace("0.0.0.0:5671", &format!("127.0.0.1:{amqps}")),
        ),
        None => lines.push(format!("listeners.tcp.1 = 127.0.0.1:{amqp}")),
    }
    if let Some((user, password)) = &options.user {
        lines.push(format!("default_user = {user}"));
        lines.push(format!("default_pass = {password}"));
    }
    if let Some(files) = &options.certificate {
        lines.push(format!("listeners.ssl.1 = 127.0.0.1:{amqps}"));
        for (key, file) in [
            ("cacertfile", &files.ca),
            ("certfile", &files.certificate),
            ("keyfile", &files.key),
        ] {
            lines.push(format!("ssl_options.{key} = {}", file.display()));
        }
        lines.push("ssl_options.verify = verify_none".to_owned());
    }
    if !peers.is_empty() {
        lines.push("cluster_formation.peer_discovery_backend = classic_config".to_owned());
        for (number, peer) in peers.iter().enumerate() {
            let number = number + 1;
            lines.push(format!(
                "cluster_formation.classic_config.nodes.{number} = {peer}"
            ));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

pub(super) fn missing() -> Vec<&'static str> {
    if Path::new(PROGRAM).is_file() && on_path("epmd") {
        Vec::new()
    } else {
        PACKAGES.to_vec()
    }
}

fn shared_ports() -> Option<(u16, u16)> {
    let value = std::env::var(SHARED_VARIABLE).ok()?;
    let (amqp, stomp) = value.split_once(',')?;
    Some((amqp.parse().ok()?, stomp.parse().ok()?))
}
