//! A stand: the servers, nodes of the product as operating-system processes over them, the log of effects, and a listener
//! that existed before. Owns how they are plugged together and ended; never breaks anything, and judges nothing.

pub mod node;
pub mod processes;
pub mod servers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use xtask::liar::Liar;
use xtask::proxy::Proxy;

use crate::effects::Effects;
use crate::http;
use crate::listener::Listener;
use crate::load::{SHELL, Task};
use crate::programs;
use crate::{Outcome, wall_ms};

use node::{Node, Role, Server};
use processes::processes;
use servers::{Lock, Servers};

/// How much of what nodes send to the broker is remembered.
const REMEMBERED_BYTES: usize = 256 * 1024;
/// Where Debian keeps libfaketime, below the folder of the machine's libraries.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// What all nodes of a stand are started with.
pub struct Design<'a> {
    pub program: &'a Path,
    pub folder: &'a Path,
    pub arguments: &'a [&'a str],
    /// The queues that workers work on.
    pub queues: &'a str,
    /// How many runs a worker takes at once.
    pub slots: u32,
    /// How many seconds a program lives.
    pub program_s: &'a str,
    /// Whether there is a proxy in front of each server, for each node.
    pub proxied: bool,
    /// The queue of the listener that existed before.
    pub listens: &'a str,
}

pub struct Stand {
    // Before the servers, so that they are ended first.
    pub nodes: Vec<Node>,
    pub effects: Effects,
    /// The listener that existed before, where there is a broker.
    pub listener: Option<Listener>,
    /// What says that it is the lock where there is none, one for each scheduler.
    pub liars: Vec<Liar>,
    pub servers: Servers,
    pub script: PathBuf,
    pub folder: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    worker_arguments: Vec<String>,
    proxied: bool,
}

impl Stand {
    /// A stand without nodes over these servers.
    pub fn new(servers: Servers, design: &Design<'_>) -> Outcome<Self> {
        std::fs::create_dir_all(design.folder)?;
        let script = design.folder.join("program.sh");
        std::fs::write(&script, programs::script(design.program_s))?;
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let slots = design.slots.to_string();
        let worker = ["--queues", design.queues, "--slots", &slots];
        let allowed = ["--allow-commands", SHELL, "--allow-private-targets"];
        let broker = servers.broker.as_ref();
        Ok(Self {
            nodes: Vec::new(),
            effects: Effects::start(&design.folder.join("effects.tsv"))?,
            listener: broker.map(|broker| Listener::start(broker.stomp_port(), design.listens)),
            liars: Vec::new(),
            servers,
            script,
            folder: design.folder.to_owned(),
            program: design.program.to_owned(),
            arguments: owned(design.arguments),
            worker_arguments: owned(&[&worker[..], &allowed].concat()),
            proxied: design.proxied,
        })
    }

    /// Puts a node there that has not started; `skewed` gives it a clock of its own where the machine can do that.
    pub fn add(&mut self, name: &'static str, role: Role, skewed: bool) -> Outcome<()> {
        let mut links = Vec::new();
        let (mut store, mut lock) = (self.servers.store.url(), self.servers.lock.url());
        let broker = self.servers.broker.as_ref();
        let mut broker_url = broker.map_or_else(|| "memory:".to_owned(), |b| b.stomp_url());
        if self.proxied {
            if let Some(port) = self.servers.store.port() {
                store = through(&mut links, Server::Store, port, &store)?;
            }
            // A worker never asks for the lock: a fault on that link would meet nothing.
            if let (Lock::Redis(redis), true) = (&self.servers.lock, role.schedules()) {
                lock = through(&mut links, Server::Lock, redis.port(), &lock)?;
            }
            if let Some(broker) = broker {
                broker_url = through(&mut links, Server::Broker, broker.stomp_port(), &broker_url)?;
            }
        }
        let sends = links.iter().filter(|(server, _)| *server == Server::Broker);
        for (_, proxy) in sends.filter(|_| role.schedules()) {
            proxy.remember(REMEMBERED_BYTES);
        }
        if matches!(self.servers.lock, Lock::Lie) && role.schedules() {
            let liar = Liar::start()?;
            lock = liar.url();
            self.liars.push(liar);
        }
        let clock = if skewed { self.faketime()? } else { None };
        let mut arguments = self.arguments.clone();
        let own = ["--store", &store, "--lock", &lock, "--broker", &broker_url];
        arguments.extend(own.map(str::to_owned));
        arguments.extend(["--roles".to_owned(), role.words().to_owned()]);
        if role.works() {
            arguments.extend(self.worker_arguments.iter().cloned());
        }
        let log = self.folder.join(format!("{name}.log"));
        let node = Node::new(name, role, &self.program, &arguments, log);
        self.nodes.push(node.behind(links).under(clock));
        Ok(())
    }

    /// The file that says how far a clock is off (not at all, to begin with), and the library that reads it.
    fn faketime(&self) -> Outcome<Option<(PathBuf, PathBuf)>> {
        let folders = std::fs::read_dir("/usr/lib");
        let mut libraries = folders.into_iter().flatten().flatten();
        let library = libraries.find_map(|folder| {
            let library = folder.path().join(FAKETIME);
            library.is_file().then_some(library)
        });
        let file = self.folder.join("clock");
        if library.is_some() {
            std::fs::write(&file, "+0\n")?;
        }
        Ok(library.map(|library| (file, library)))
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Outcome<&Node> {
        let node = self.nodes.iter().find(|node| node.name == name);
        Ok(node.ok_or_else(|| format!("there is no node `{name}`"))?)
    }

    pub fn schedulers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.role.schedules())
    }

    /// The nodes that run tasks and nothing else.
    pub fn workers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.role == Role::Worker)
    }

    /// The nodes whose processes live.
    pub fn living(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_alive())
    }

    /// The port of a scheduler node that answers.
    pub fn api_port(&self) -> Outcome<u16> {
        let answering = self.schedulers().find(|node| node.answers());
        Ok(answering.ok_or("no scheduler node answers")?.port)
    }

    /// A command of the product against the API of the first scheduler node that answers.
    pub fn cli(&self, arguments: &[&str]) -> Outcome<String> {
        let mut cli = node::program(&self.program);
        let url = format!("http://127.0.0.1:{}", self.api_port()?);
        let output = cli.args(arguments).env("CAMPANILE_URL", url).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let (command, status) = (arguments.join(" "), output.status);
        Err(format!("campanile {command}: {status}: {said}").into())
    }

    /// Applies tasks through the product's own command line, before the first instant of any of them.
    pub fn apply(&self, tasks: &[Task]) -> Outcome<String> {
        let specs: Vec<&Value> = tasks.iter().map(|task| &task.definition).collect();
        let file = self.folder.join("tasks.json");
        std::fs::write(&file, json!({ "task": specs }).to_string())?;
        let said = self.cli(&["apply", &file.display().to_string()])?;
        if wall_ms() >= tasks.iter().map(|t| t.anchor_ms).min().unwrap_or(0) {
            return Err("the tasks were applied too late for their first instants".into());
        }
        Ok(said)
    }

    /// Asks the living schedulers, the first one first, until one answers.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        gives_up: &dyn Fn() -> bool,
    ) -> Option<(u16, Value)> {
        let path = format!("/api/v1{path}");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut living = self.living().filter(|node| node.role.schedules());
        let (status, text) = living
            .find_map(|node| http::send_unless(node.port, method, &path, &body, gives_up).ok())?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Some((status, value))
    }

    /// What the programs have said themselves. Without a file none ever started.
    pub fn programs(&self) -> Vec<programs::ProgramLine> {
        let log = format!("{}.log", self.script.display());
        programs::read_programs(&std::fs::read_to_string(log).unwrap_or_default())
    }

    /// Asks every node to end, waits, and tells which did not end well, and what still lives of this stand.
    pub fn stop_all(&self, limit: Duration) -> Vec<String> {
        for node in self.living() {
            let _ = node.with(xtask::servers::Process::sigterm);
        }
        let mut wrong = Vec::new();
        for node in &self.nodes {
            match node.with(|process| process.wait_exit(limit)) {
                Ok(Some(status)) if status.success() => {}
                Ok(Some(status)) => wrong.push(format!("{} ended with {status}", node.name)),
                Ok(None) => wrong.push(format!("{} had not ended after {limit:?}", node.name)),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        let mut marks = vec![self.folder.display().to_string()];
        marks.extend(self.servers.broker.iter().map(|broker| broker.stomp_url()));
        let ours = std::process::id();
        let left = processes().into_iter();
        let is_ours = |line: &str| marks.iter().any(|mark| line.contains(mark));
        let left = left.filter(|(pid, line)| *pid != ours && is_ours(line));
        wrong.extend(left.map(|(pid, line)| format!("{pid} still lives: {line}")));
        wrong
    }
}

/// The URL of a server through a proxy of its own, which joins the links.
fn through(
    links: &mut Vec<(Server, Proxy)>,
    server: Server,
    port: u16,
    url: &str,
) -> Outcome<String> {
    let proxy = Proxy::start(port)?;
    let through = url.replacen(&format!(":{port}"), &format!(":{}", proxy.port()), 1);
    links.push((server, proxy));
    Ok(through)
}
