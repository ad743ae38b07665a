//! Who may use a secret on this worker. A use must fit one rule of the secret's in everything: task, owner and target.

use std::fmt;

use campanile_core::metrics::matches;
use campanile_core::task::HandlerSpec;
use url::Url;

/// A rule as the worker's settings say it. Lists that are empty allow nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The secret's name.
    pub name: String,
    /// Names of tasks, in which `*` stands for anything.
    pub tasks: Vec<String>,
    /// Their owners; `*` = anybody's, and nobody's.
    pub owners: Vec<String>,
    /// For `http` handlers, where it may be sent: `api.example.com` (over https), with a port or with a scheme of its own
    /// where it is another; `*.example.com` for all names below.
    pub hosts: Vec<String>,
    /// For `command` handlers, the programs that may be given it, by absolute path as tasks write them.
    pub programs: Vec<String>,
}

impl Rule {
    /// What is wrong with it.
    ///
    /// # Errors
    /// The field, and what to write instead.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        for host in &self.hosts {
            Place::read(host).map_err(|why| ("hosts", why))?;
        }
        match self
            .programs
            .iter()
            .find(|program| !program.starts_with('/'))
        {
            Some(odd) => Err((
                "programs",
                format!(
                    "`{}` is not an absolute path: write it whole, as in /usr/bin/psql",
                    odd.escape_debug()
                ),
            )),
            None => Ok(()),
        }
    }

    /// Lists without which nobody may use it.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        if self.tasks.is_empty() {
            return Some("tasks");
        }
        self.owners.is_empty().then_some("owners")
    }

    fn fits_owner(&self, owner: Option<&str>) -> bool {
        let fits = |allowed: &String| allowed == "*" || Some(allowed.as_str()) == owner;
        self.owners.iter().any(fits)
    }

    fn fits_target(&self, target: &Target) -> bool {
        match target {
            Target::Address(asked) => {
                let places = self.hosts.iter().filter_map(|host| Place::read(host).ok());
                places.into_iter().any(|place| place.covers(asked))
            }
            Target::Program(program) => self.programs.contains(program),
            // The worker's own code.
            Target::Native => true,
        }
    }
}

/// What a secret is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// It is sent there. No redirect is followed, so it goes nowhere else.
    Address(Place),
    /// It is given to this program.
    Program(String),
    /// It is given to a handler of the worker's own.
    Native,
}

impl Target {
    /// Of a handler, as its definition says it: no secret can stand in the part of an address that says whom it goes to.
    ///
    /// # Errors
    /// The handler takes no secrets.
    pub fn of(handler: &HandlerSpec) -> Result<Self, String> {
        match handler {
            HandlerSpec::Http(http) => Place::of(&http.url).map(Self::Address),
            HandlerSpec::Command(command) => {
                let program = command.argv.first().cloned().unwrap_or_default();
                Ok(Self::Program(program))
            }
            HandlerSpec::Native(_) => Ok(Self::Native),
            HandlerSpec::External(_) => Err(
                "an external listener is given no secrets: they would lie in the broker".to_owned(),
            ),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(place) => write!(f, "{place}"),
            Self::Program(program) => write!(f, "{program}"),
            Self::Native => f.write_str("native handlers"),
        }
    }
}

/// Where requests go: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    scheme: String,
    host: String,
    port: u16,
    /// All names below the host, and not itself.
    below: bool,
}

impl Place {
    /// As a rule says it.
    fn read(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            let shown = text.escape_debug();
            format!(
                "`{shown}` {why}: write a host as in api.example.com, *.example.com, api.example.com:8443 or \
                     http://10.0.0.7:8080"
            )
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let below = rest.starts_with("*.");
        let rest = rest.strip_prefix("*.").unwrap_or(rest);
        if rest.contains('*') {
            return Err(wrong("allows more than a host and what is below it"));
        }
        if rest.contains(['/', '?', '#', '@', '\\']) || !matches!(scheme, "http" | "https") {
            return Err(wrong("is not a host"));
        }
        let place = Self::of(&format!("{scheme}://{rest}")).map_err(|_| wrong("is not a host"))?;
        Ok(Self { below, ..place })
    }

    /// Of an address, read as the request's own reader does.
    fn of(address: &str) -> Result<Self, String> {
        let url =
            Url::parse(address).map_err(|e| format!("handler.http.url is not an address: {e}"))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        if host.is_empty() {
            return Err("handler.http.url names no host".to_owned());
        }
        Ok(Self {
            scheme: url.scheme().to_owned(),
            host,
            port,
            below: false,
        })
    }

    fn covers(&self, asked: &Self) -> bool {
        let is_host = if self.below {
            let above = asked.host.strip_suffix(self.host.as_str());
            above.is_some_and(|above| above.len() > 1 && above.ends_with('.'))
        } else {
            asked.host == self.host
        };
        is_host && asked.scheme == self.scheme && asked.port == self.port
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// Whether a use fits one of the rules.
///
/// # Errors
/// What to allow, where.
pub(super) fn check(
    rules: &[Rule],
    name: &str,
    task: &str,
    owner: Option<&str>,
    target: &Target,
) -> Result<(), String> {
    let named: Vec<&Rule> = rules.iter().filter(|rule| rule.name == name).collect();
    if named.is_empty() {
        return Err(format!(
            "the secret `{name}` is nobody's on this worker: its settings have no [[secret]] with name = \"{name}\""
        ));
    }
    let of_task: Vec<&&Rule> = named
        .iter()
        .filter(|rule| rule.tasks.iter().any(|pattern| matches(pattern, task)))
        .collect();
    if of_task.is_empty() {
        return Err(format!(
            "the secret `{name}` is not for task `{task}` on this worker: `tasks` of its [[secret]] names others"
        ));
    }
    let of_owner: Vec<&&&Rule> = of_task
        .iter()
        .filter(|rule| rule.fits_owner(owner))
        .collect();
    if of_owner.is_empty() {
        let owner = owner.map_or_else(
            || "without an owner".to_owned(),
            |owner| format!("of owner `{owner}`"),
        );
        return Err(format!(
            "the secret `{name}` is not for tasks {owner} on this worker: `owners` of its [[secret]] names others"
        ));
    }
    if of_owner.iter().any(|rule| rule.fits_target(target)) {
        return Ok(());
    }
    let list = if matches!(target, Target::Program(_)) {
        "programs"
    } else {
        "hosts"
    };
    Err(format!(
        "the secret `{name}` may not go to {target} from this worker: `{list}` of its [[secret]] does not name that"
    ))
}
