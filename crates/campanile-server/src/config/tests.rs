//! What settings are taken, from where, and what is said of those that are not. No file of the machine and no variable of
//! its environment is read: each test brings its own.

use super::*;

fn layer(pairs: &[(&'static str, &str)]) -> Layer {
    pairs
        .iter()
        .map(|(name, value)| {
            let key = keys::find(name).unwrap();
            let raw = Raw::split(value, key.kind, Source::Flag(key.flag()));
            (key.name, raw)
        })
        .collect()
}

fn with(pairs: &[(&'static str, &str)]) -> Result<Settings, Error> {
    Written::gather(layer(pairs), &Environment::new(), None)?.settings()
}

#[test]
fn the_defaults_are_valid_and_on_loopback() {
    let settings = with(&[]).unwrap();
    assert!(settings.http.listen.ip().is_loopback());
    assert_eq!(settings.http.token, None);
    assert!(settings.node.allow_commands.is_empty());
    assert!(!settings.node.allow_private_targets);
    assert_eq!(
        settings.node.roles,
        Roles {
            scheduler: true,
            worker: true,
            api: true
        }
    );
    assert_eq!(settings.cluster.lock_ttl, Duration::from_secs(5));
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let folder = xtask::servers::TempDir::new("config").unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "slots = 1\nlease = \"20s\"\ncluster = \"f\"\n").unwrap();
    let env = Environment::from([
        ("CAMPANILE_SLOTS".to_owned(), "2".to_owned()),
        ("CAMPANILE_LEASE".to_owned(), "30s".to_owned()),
    ]);
    let written = Written::gather(layer(&[("slots", "3")]), &env, Some(&file)).unwrap();
    let settings = written.settings().unwrap();
    assert_eq!(settings.node.slots, 3);
    assert_eq!(settings.node.lease, Duration::from_secs(30));
    assert_eq!(settings.cluster.name, "f");
    assert_eq!(settings.node.drain, Duration::from_secs(30));
    let source = |name: &str| {
        let all = written.shown();
        all.iter().find(|(n, ..)| *n == name).unwrap().2.clone()
    };
    assert_eq!(source("slots"), "--slots");
    assert_eq!(source("lease"), "CAMPANILE_LEASE");
    assert_eq!(source("cluster"), format!("{} line 3", file.display()));
    assert_eq!(source("drain"), "default");
}

const REFUSED: &[(&[(&str, &str)], &str)] = &[
    (
        &[("store", "mongodb://x")],
        "setting `store` (--store): the scheme of `mongodb://x` is not known: begin it with one of sqlite:, postgres:, postgresql:, mysql:, mariadb:",
    ),
    (
        &[("store", "campanile.db")],
        "`campanile.db` has no scheme: begin it with one of sqlite:",
    ),
    (
        &[("lock", "zookeeper://h")],
        "begin it with one of store:, redis:",
    ),
    (
        &[("broker", "kafka://u:p@h")],
        "the scheme of `kafka://u:***@h` is not known",
    ),
    (&[("broker", "amqp10://h")], "`amqp10:` is not built yet"),
    (
        &[("roles", "scheduler,boss")],
        "`boss` is not a role: write scheduler, worker, api",
    ),
    (&[("roles", ",")], "setting `roles` (--roles): is empty"),
    (
        &[("roles", "worker")],
        "`memory:` carries runs inside one process",
    ),
    (&[("queues", "a b")], "`a b` can't be a name"),
    (&[("queues", ",")], "name a queue"),
    (&[("slots", "0")], "`0` is out of range: write 1 to 10000"),
    (&[("slots", "many")], "`many` is out of range"),
    (
        &[("listen", "localhost")],
        "`localhost` is not an address and a port: write 127.0.0.1:7070",
    ),
    (
        &[("listen", "0.0.0.0:7070")],
        "set `tls_cert` and `tls_key`, listen on 127.0.0.1, or say `insecure`",
    ),
    (
        &[("tls_cert", "c.pem")],
        "setting `tls_cert` (--tls-cert): needs `tls_key` beside it",
    ),
    (&[("tls_key", "k.pem")], "needs `tls_cert` beside it"),
    (
        &[("lock_ttl", "5")],
        "setting `lock_ttl` (--lock-ttl): `5` is not a duration: write a number and a unit",
    ),
    (
        &[("lock_ttl", "100ms")],
        "`100ms` is out of range: write 1s to 5m",
    ),
    (
        &[("token", "secret")],
        "setting `token` (--token): is too short",
    ),
    (
        &[("token", "aaaaaaaaaaaaaaaaaaaaaaaa")],
        "is too easy to guess",
    ),
    (
        &[("trusted_proxies", "proxy")],
        "is neither an address nor a network",
    ),
    (
        &[("token_file", "/nowhere/token")],
        "can't read /nowhere/token",
    ),
    (
        &[("token", "Vq8tZ2xLr6YwKd1MhNc5"), ("token_file", "x")],
        "keep one of them",
    ),
    (
        &[("allow_commands", "df")],
        "`df` is not an absolute path: write it whole, as in /usr/bin/df",
    ),
    (&[("log", "xml")], "`xml` is not known: write text or json"),
    (&[("log_level", "a=b=c")], "`a=b=c` is not a filter"),
    (&[("insecure", "yes")], "`yes` is neither true nor false"),
    (&[("name", "a/b")], "`a/b` can't be a name"),
];

#[test]
fn what_can_not_be_taken_is_named_with_its_remedy() {
    for (pairs, expected) in REFUSED {
        let said = with(pairs).expect_err(expected).to_string();
        assert!(said.contains(expected), "{said}\nshould hold\n{expected}");
    }
}

#[test]
fn non_loopback_is_taken_with_tls_or_on_demand() {
    with(&[("listen", "0.0.0.0:0"), ("insecure", "true")]).unwrap();
    with(&[("listen", "0.0.0.0:0"), ("tls_cert", "c"), ("tls_key", "k")]).unwrap();
}

#[test]
fn secrets_are_not_shown() {
    let flags = layer(&[
        ("token", "Vq8tZ2xLr6YwKd1MhNc5"),
        ("broker", "stomp://u:verysecret@h:1"),
    ]);
    let written = Written::gather(flags, &Environment::new(), None).unwrap();
    let shown = format!(
        "{:?} {:?}",
        written.shown(),
        written.settings().unwrap().http
    );
    assert!(
        !shown.contains("Vq8tZ2xLr6YwKd1MhNc5") && !shown.contains("verysecret"),
        "{shown}"
    );
}
