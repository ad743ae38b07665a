//! URLs of the lock in Redis as people write them: what is understood, and what each mistake is told.

use super::*;

fn at(host: &str, port: u16) -> Address {
    Address {
        host: host.to_owned(),
        port,
    }
}

fn login(username: Option<&str>, password: &str) -> Login {
    Login {
        username: username.map(str::to_owned),
        password: Some(password.to_owned()),
    }
}

#[test]
fn a_single_server() {
    let target = parse("redis://127.0.0.1:7000").unwrap();
    assert_eq!(target.group, Group::Single(at("127.0.0.1", 7000)));
    assert_eq!((target.database, target.tls), (0, None));
    let target = parse("rediss://me:p%40ss%2F@[::1]/3").unwrap();
    assert_eq!(target.group, Group::Single(at("::1", 6379)));
    assert_eq!(target.login, login(Some("me"), "p@ss/"));
    assert_eq!(
        (target.database, target.tls),
        (3, Some(Tls { authorities: None }))
    );
    let target = parse("redis://:se:cret@redis.example?db=2").unwrap();
    assert_eq!(target.login, login(None, "se:cret"));
    assert_eq!(target.database, 2);
}

#[test]
fn a_sentinel_group() {
    let target =
        parse("redis+sentinel://u:p@a:1,b,[::2]:3/main?db=5&sentinel_password=x%26y").unwrap();
    assert_eq!(
        target.group,
        Group::Sentinel {
            service: "main".into(),
            sentinels: vec![at("a", 1), at("b", 26379), at("::2", 3)],
            login: login(None, "x&y"),
        }
    );
    assert_eq!((target.login, target.database), (login(Some("u"), "p"), 5));
    assert!(parse("rediss+sentinel://a/s").unwrap().tls.is_some());
}

#[test]
fn a_cluster() {
    let target = parse("redis+cluster://u:p@a:1,b,[::2]:3/0").unwrap();
    assert_eq!(
        target.group,
        Group::Cluster(vec![at("a", 1), at("b", 6379), at("::2", 3)])
    );
    assert_eq!((target.login, target.database), (login(Some("u"), "p"), 0));
    assert!(parse("rediss+cluster://a").unwrap().tls.is_some());
}

#[test]
fn each_mistake_names_the_setting_and_what_to_write_and_no_secret() {
    for (url, told) in [
        ("redis.example:6379", "the scheme of `redis.example:6379`"),
        ("http://a", "the scheme of `http://a` is not one of Redis's"),
        ("redis://u:1/secret@a", "write %2F for /"),
        ("redis://:pa?secret@a", "%3F for ?"),
        ("redis://a?secret", "unknown option `***`"),
        ("secret@a", "the scheme of `***@a`"),
        ("redis://", "a host is missing; write redis://HOST:PORT"),
        ("redis://a:b", "a port is not a number"),
        ("redis://a:0", "from 1 to 65535"),
        ("redis://a:1,b:2", "write redis+sentinel://"),
        ("redis://[::1:7000", "brackets"),
        ("redis://a/x", "`x` is not a database number"),
        ("redis://a/-1", "`-1` is not a database number"),
        ("redis://me@a", "a user without a password"),
        ("redis://:secret%zz@a", "two hexadecimal digits"),
        ("redis://:sec/ret@a", "write %2F for /"),
        ("redis://a?dB=1", "unknown option `dB`; this URL knows db"),
        ("redis://a?ca=x", "unknown option `ca`"),
        ("rediss://a?ca=/no/such/file", "`/no/such/file`"),
        ("redis+sentinel://a:1", "the service"),
        ("redis+sentinel://a:1/", "often `mymaster`"),
        ("redis+sentinel:///s", "a host is missing"),
        (
            "redis+sentinel://a/s?sentinel_username=u",
            "sentinel_password",
        ),
        ("redis+cluster://", "a host is missing; write redis+cluster"),
        ("redis+cluster://a:1/1", "a Redis Cluster has one database"),
        (
            "redis+cluster://a:1?db=2",
            "a Redis Cluster has one database",
        ),
        ("redis+cluster://a:1/x", "`x` is not a database number"),
        ("redis+cluster://a?sentinel_password=s", "this URL knows db"),
        ("redis://a:1,b:2", "redis+cluster://HOST:PORT,HOST:PORT"),
    ] {
        let error = parse(url).unwrap_err().to_string();
        assert!(error.starts_with("setting `lock`: "), "{url}: {error}");
        assert!(error.contains(told), "{url}: {error}");
        assert!(!error.contains("sec"), "{url}: {error}");
    }
    let shown = format!("{:?}", parse("redis://me:secret@a").unwrap());
    assert!(!shown.contains("secret"), "{shown}");
}
