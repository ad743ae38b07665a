//! A private ActiveMQ from Debian's jars, run by `java` directly: Debian's own script wants the system's instance
//! folders and another user. STOMP and OpenWire on loopback, a store that survives `kill9` and `restart`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::process::Process;
use super::temp::{TempDir, free_port};
use super::{Error, accepts, on_path, wait_ready, write_config};

/// Names the ports of the instance that a whole test run shares: `STOMP,OPENWIRE`.
pub const SHARED_VARIABLE: &str = "CAMPANILE_TEST_ACTIVEMQ";
const PACKAGES: [&str; 2] = ["activemq", "libactivemq-java"];
const JARS: &str = "/usr/share/java";
const BROKER: [&str; 17] = [
    "activemq-console",
    "activemq-broker",
    "activemq-client",
    "activemq-kahadb-store",
    "activemq-stomp",
    "activemq-openwire-legacy",
    "activemq-jaas",
    "activemq-protobuf",
    "hawtbuf",
    "geronimo-jms_1.1_spec",
    "geronimo-j2ee-management-1.1-spec",
    "geronimo-jta-1.2-spec",
    "slf4j-api",
    "slf4j-simple",
    "jackson-core",
    "jackson-databind",
    "jackson-annotations",
];
/// What the XML form of the configuration needs on top.
const SPRING: [&str; 9] = [
    "activemq-spring",
    "xbean-spring",
    "spring3-core",
    "spring3-beans",
    "spring3-context",
    "spring3-aop",
    "spring3-expression",
    "jcl-over-slf4j",
    "spring3-transaction",
];
/// What a Java program needs on top to listen with Spring.
const LISTENER: [&str; 2] = ["spring3-messaging", "spring3-jms"];

/// What an instance is to be like.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names and passwords of users who may do everything; empty = nobody is asked.
    pub users: Vec<(String, String)>,
    /// Memory for each queue in bytes, after which producers are held back; `None` = the broker's own.
    pub memory_limit: Option<u64>,
    /// The heap in MiB; `None` = 256.
    pub heap_mib: Option<u32>,
    /// A whole configuration in place of the usual one, with these properties: its connectors listen on 0.0.0.0:61613
    /// (STOMP) and 0.0.0.0:61616 (OpenWire), which become this instance's ports on loopback.
    pub config: Option<(String, Vec<(String, String)>)>,
    /// A key store in PKCS 12 and its password: it listens for STOMP over TLS, too.
    pub tls: Option<(PathBuf, String)>,
    /// Whether what a consumer gave back comes again after a while.
    pub delays_redelivery: bool,
    /// Compile for throughput (benchmarks) rather than for a quick start (tests).
    pub optimise: bool,
}

/// A private ActiveMQ broker.
#[derive(Debug)]
pub struct ActiveMq {
    stomp: u16,
    stomps: u16,
    openwire: u16,
    /// `None` when it is the run's shared one, which somebody else owns.
    own: Option<Instance>,
}

#[derive(Debug)]
struct Instance {
    // Before the folder, so that it is ended first.
    process: Mutex<Process>,
    /// Shared between a broker and its standby.
    folder: Arc<TempDir>,
    options: Options,
}

impl ActiveMq {
    /// Starts a broker that asks nobody for a password.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's packages, [`Error::Failed`] when it doesn't start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(Options::default())
    }

    /// Starts a broker with these options.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: Options) -> Result<Self, Error> {
        let broker = Self::launch_on(new_folder()?, options)?;
        broker.wait_ready()?;
        Ok(broker)
    }

    /// Starts a second broker on the same store. It listens only once this one has died and it holds the store's lock:
    /// wait for that with [`Self::is_accepting`].
    ///
    /// # Errors
    /// As [`Self::start`].
    ///
    /// # Panics
    /// On the shared instance.
    pub fn start_standby(&self) -> Result<Self, Error> {
        let own = self.own();
        Self::launch_on(own.folder.clone(), own.options.clone())
    }

    /// The instance of this test run; without one, an instance shared by this process.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn shared() -> Result<Arc<Self>, Error> {
        static HERE: Mutex<Weak<ActiveMq>> = Mutex::new(Weak::new());
        let mut here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = here.upgrade() {
            return Ok(broker);
        }
        let broker = match shared_ports() {
            Some((stomp, openwire)) => Self {
                stomp,
                stomps: 0,
                openwire,
                own: None,
            },
            None => Self::start()?,
        };
        let broker = Arc::new(broker);
        *here = Arc::downgrade(&broker);
        Ok(broker)
    }

    /// Its STOMP URL, without credentials: `stomp://127.0.0.1:PORT`.
    #[must_use]
    pub fn stomp_url(&self) -> String {
        format!("stomp://127.0.0.1:{}", self.stomp)
    }

    /// Its STOMP URL for a user.
    #[must_use]
    pub fn stomp_url_as(&self, user: &str, password: &str) -> String {
        format!("stomp://{user}:{password}@127.0.0.1:{}", self.stomp)
    }

    /// Its OpenWire URL, for Java: `tcp://127.0.0.1:PORT`.
    #[must_use]
    pub fn openwire_url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.openwire)
    }

    /// Its STOMP port on 127.0.0.1.
    #[must_use]
    pub const fn stomp_port(&self) -> u16 {
        self.stomp
    }

    /// Its port for STOMP over TLS; nobody listens there without a key store.
    #[must_use]
    pub const fn stomps_port(&self) -> u16 {
        self.stomps
    }

    /// Its OpenWire port on 127.0.0.1.
    #[must_use]
    pub const fn openwire_port(&self) -> u16 {
        self.openwire
    }

    /// Whether it takes connections (a standby does not).
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        let tls = self
            .own
            .as_ref()
            .is_some_and(|own| own.options.tls.is_some());
        accepts(self.stomp) && accepts(self.openwire) && (!tls || accepts(self.stomps))
    }

    /// The class path for a Java program with a JMS (and Spring JMS) client, of Debian's jars.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's packages.
    pub fn java_classpath() -> Result<String, Error> {
        let all = BROKER.iter().chain(&SPRING).chain(&LISTENER);
        if all.clone().any(|jar| !jar_path(jar).is_file()) {
            return Err(Error::Missing {
                packages: PACKAGES.to_vec(),
            });
        }
        Ok(classpath(all))
    }

    /// Kills it at once; what it confirmed stays in its store.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn kill9(&self) {
        self.process().kill9();
    }

    /// Halts it where it stands: connections stay open and nothing answers.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn pause(&self) {
        self.process().sigstop();
    }

    /// Lets a paused broker go on.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn resume(&self) {
        self.process().sigcont();
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
        *self.process() = launch(&own.folder, self.ports(), &own.options)?;
        self.wait_ready()
    }

    /// Starts it again with an empty store, as after the loss of its disk.
    ///
    /// # Errors
    /// [`Error::Failed`] when the store can't be removed or it doesn't come back.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn restart_empty(&self) -> Result<(), Error> {
        self.kill9();
        let removed = std::fs::remove_dir_all(self.own().folder.join("data"));
        removed.map_err(|error| Error::failed("remove the broker's store", error))?;
        self.restart()
    }

    fn launch_on(folder: Arc<TempDir>, options: Options) -> Result<Self, Error> {
        let ports = [free_port(), free_port(), free_port()];
        let process = Mutex::new(launch(&folder, ports, &options)?);
        let [stomp, stomps, openwire] = ports;
        Ok(Self {
            stomp,
            stomps,
            openwire,
            own: Some(Instance {
                process,
                folder,
                options,
            }),
        })
    }

    /// The folder of its files and logs.
    ///
    /// # Panics
    /// On the shared instance.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.own().folder.path()
    }

    /// The broker's process id.
    ///
    /// # Panics
    /// On the shared instance.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    const fn ports(&self) -> [u16; 3] {
        [self.stomp, self.stomps, self.openwire]
    }

    fn own(&self) -> &Instance {
        let Some(own) = &self.own else {
            panic!("the run's shared ActiveMQ is not ours to break: start a private one")
        };
        own
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.own()
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_ready(&self) -> Result<(), Error> {
        wait_ready("ActiveMQ", &self.process(), || self.is_accepting())
    }
}

pub(super) fn missing() -> Vec<&'static str> {
    let there = on_path("java")
        && BROKER
            .iter()
            .chain(&SPRING)
            .chain(&LISTENER)
            .all(|jar| jar_path(jar).is_file());
    let mut packages = if there { Vec::new() } else { PACKAGES.to_vec() };
    if !on_path("javac") {
        packages.push("default-jdk-headless");
    }
    packages
}

fn new_folder() -> Result<Arc<TempDir>, Error> {
    let folder = TempDir::new("activemq")
        .map_err(|error| Error::failed("make a folder for ActiveMQ", error))?;
    Ok(Arc::new(folder))
}

fn shared_ports() -> Option<(u16, u16)> {
    let value = std::env::var(SHARED_VARIABLE).ok()?;
    let (stomp, openwire) = value.split_once(',')?;
    Some((stomp.parse().ok()?, openwire.parse().ok()?))
}

fn jar_path(name: &str) -> std::path::PathBuf {
    Path::new(JARS).join(format!("{name}.jar"))
}

fn classpath<'a>(jars: impl Iterator<Item = &'a &'a str>) -> String {
    let paths: Vec<String> = jars
        .map(|jar| jar_path(jar).display().to_string())
        .collect();
    paths.join(":")
}

fn launch(folder: &Arc<TempDir>, ports: [u16; 3], options: &Options) -> Result<Process, Error> {
    let [stomp, _, openwire] = ports;
    if !missing()
        .iter()
        .all(|package| *package == "default-jdk-headless")
    {
        return Err(Error::Missing {
            packages: PACKAGES.to_vec(),
        });
    }
    let config = folder.join(&format!("broker-{stomp}.xml"));
    let text = match &options.config {
        None => xml(folder.path(), ports, options),
        Some((text, _)) => text
            .replace("0.0.0.0:61613", &format!("127.0.0.1:{stomp}"))
            .replace("0.0.0.0:61616", &format!("127.0.0.1:{openwire}")),
    };
    write_config(&config, &text)?;
    let mut java = Command::new("java");
    java.arg(format!("-Xmx{}m", options.heap_mib.unwrap_or(256)))
        .arg("-XX:+UseSerialGC");
    if !options.optimise {
        java.arg("-XX:TieredStopAtLevel=1");
    }
    java.arg(format!("-Dactivemq.base={}", folder.path().display()));
    for folder_of in ["conf", "data"] {
        java.arg(format!(
            "-Dactivemq.{folder_of}={}",
            folder.join(folder_of).display()
        ));
    }
    if let Some((_, properties)) = &options.config {
        let lines: Vec<String> = properties
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        let conf = folder.join("conf");
        std::fs::create_dir_all(&conf)
            .map_err(|error| Error::failed("make the broker's conf folder", error))?;
        write_config(&conf.join("credentials.properties"), &lines.concat())?;
    }
    java.arg("-cp").arg(classpath(BROKER.iter().chain(&SPRING)));
    java.args(["org.apache.activemq.console.Main", "start"]);
    java.arg(format!("xbean:file:{}?validate=false", config.display()))
        .current_dir(folder.path());
    let started = Process::spawn(&java, &folder.join(&format!("activemq-{stomp}.log")));
    started.map_err(|error| Error::failed("start ActiveMQ", error))
}

/// The broker's configuration. Connectors are bound in this order, so the last port means that all are there.
fn xml(folder: &Path, [stomp, stomps, openwire]: [u16; 3], options: &Options) -> String {
    let folder = folder.display();
    let limit = options
        .memory_limit
        .map(|bytes| format!(" memoryLimit=\"{bytes}\""))
        .unwrap_or_default();
    let plugins = plugins(options);
    let scheduler = options.delays_redelivery;
    let (context, connector) = match &options.tls {
        None => (String::new(), String::new()),
        Some((store, password)) => {
            let store = store.display();
            (
                format!(
                    r#"<sslContext><sslContext keyStore="file:{store}" keyStoreType="PKCS12" keyStorePassword="{password}"/></sslContext>"#
                ),
                format!(
                    r#"<transportConnector name="stomps" uri="stomp+nio+ssl://127.0.0.1:{stomps}?transport.enabledProtocols=TLSv1.2,TLSv1.3"/>"#
                ),
            )
        }
    };
    format!(
        r#"<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
 http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
<broker xmlns="http://activemq.apache.org/schema/core" brokerName="tests" useJmx="false" persistent="true" schedulerSupport="{scheduler}" dataDirectory="{folder}/data">
 <destinationPolicy><policyMap><policyEntries>
  <policyEntry queue=">" prioritizedMessages="true" producerFlowControl="true"{limit}>
   <deadLetterStrategy><individualDeadLetterStrategy queuePrefix="DLQ." useQueueForQueueMessages="true"/></deadLetterStrategy>
  </policyEntry></policyEntries></policyMap></destinationPolicy>
 <persistenceAdapter><kahaDB directory="{folder}/data/kahadb" journalMaxFileLength="32mb">
  <locker><shared-file-locker lockAcquireSleepInterval="500"/></locker></kahaDB></persistenceAdapter>
 {plugins}
 {context}
 <systemUsage><systemUsage><memoryUsage><memoryUsage limit="128mb"/></memoryUsage>
  <storeUsage><storeUsage limit="2gb"/></storeUsage><tempUsage><tempUsage limit="500mb"/></tempUsage></systemUsage></systemUsage>
 <transportConnectors>
  <transportConnector name="openwire" uri="tcp://127.0.0.1:{openwire}"/>
  <transportConnector name="stomp" uri="stomp+nio://127.0.0.1:{stomp}?transport.hbGracePeriodMultiplier=1.5"/>
  {connector}
 </transportConnectors></broker></beans>
"#
    )
}

fn plugins(options: &Options) -> String {
    let mut plugins = String::new();
    if !options.users.is_empty() {
        let mut entries = String::new();
        for (user, password) in &options.users {
            // Writing to a string can't fail.
            let _ = write!(
                entries,
                r#"<authenticationUser username="{user}" password="{password}" groups="all"/>"#
            );
        }
        // Writing to a string can't fail.
        let _ = write!(
            plugins,
            r#"<simpleAuthenticationPlugin anonymousAccessAllowed="false"><users>{entries}</users></simpleAuthenticationPlugin>"#
        );
    }
    if options.delays_redelivery {
        plugins.push_str(
            r#"<redeliveryPlugin fallbackToDeadLetter="true" sendToDlqIfMaxRetriesExceeded="true"><redeliveryPolicyMap><redeliveryPolicyMap><defaultEntry><redeliveryPolicy maximumRedeliveries="4" initialRedeliveryDelay="1500" redeliveryDelay="1500"/></defaultEntry></redeliveryPolicyMap></redeliveryPolicyMap></redeliveryPlugin>"#,
        );
    }
    if plugins.is_empty() {
        return plugins;
    }
    format!("<plugins>{plugins}</plugins>")
}
