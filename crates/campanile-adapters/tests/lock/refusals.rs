//! What the setting `lock` can have wrong, at real servers: passwords, rights, certificates, schemes, names and
//! addresses. It owns what each is told: the setting and the remedy, and never a password.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use xtask::servers::{RedisCluster, RedisGuard, Sentinel, free_port};

use super::certs::Flaw;
use super::forms::{PASSWORD, cluster_url, guarded, sample, sentinel_url, sentinels, user};
use super::*;

/// What the lock at this URL says, which must be a refusal of these words.
async fn refused(url: &str, words: &[&str]) {
    let error = lock_at(url, "c")
        .acquire(&holder("me"), TTL)
        .await
        .unwrap_err();
    let told = story(&error);
    assert!(matches!(error, Error::Refused(_)), "{url}: {error:?}");
    for word in words {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(
        !told.contains(PASSWORD) && !told.contains("wr0ng"),
        "{told}"
    );
}

#[tokio::test]
async fn a_certificate_that_does_not_convince_is_refused_with_what_is_wrong() {
    for (flaw, told) in [
        (Flaw::Name, "name the server as its certificate does"),
        (Flaw::Expired, "a certificate that is valid now"),
    ] {
        let Some(guarded) = guarded(&["redis.conf"], flaw) else {
            return;
        };
        let Some(server) = or_skip(Redis::start_guarded(guarded.guard.clone(), &[])) else {
            return;
        };
        let (port, ca) = (server.tls_port().unwrap(), guarded.certificates.ca());
        let url = format!("rediss://{}127.0.0.1:{port}?{ca}", user());
        refused(&url, &["setting `lock`", "certificate", told]).await;
        if flaw == Flaw::Expired {
            continue;
        }
        // The name that it is for is another host's, and the authority is none of this machine's.
        let url = format!("rediss://{}127.0.0.1:{port}", user());
        refused(&url, &["setting `lock`", "?ca=FILE"]).await;
    }
}

#[tokio::test]
async fn tls_where_there_is_none_and_none_where_there_is_are_told() {
    let Some(guarded) = guarded(&["redis.conf"], Flaw::None) else {
        return;
    };
    let Some(server) = or_skip(Redis::start_guarded(guarded.guard.clone(), &[])) else {
        return;
    };
    let (plain, tls, ca) = (
        server.port(),
        server.tls_port().unwrap(),
        guarded.certificates.ca(),
    );
    let url = format!("rediss://{}127.0.0.1:{plain}?{ca}", user());
    let error = lock_at(&url, "c")
        .acquire(&holder("me"), TTL)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(
        story(&error).contains("not its `tls-port`"),
        "{}",
        story(&error)
    );
    let url = format!("redis://{}127.0.0.1:{tls}", user());
    let error = lock_at(&url, "c")
        .acquire(&holder("me"), TTL)
        .await
        .unwrap_err();
    assert!(
        story(&error).contains("setting `lock`"),
        "{}",
        story(&error)
    );
    assert!(
        story(&error).contains("with rediss://"),
        "{}",
        story(&error)
    );
    // And a file of authorities that is none is refused before anything is dialled.
    let key = guarded.certificates.folder().join("csr.pem");
    let options = Options {
        cluster: "c".to_owned(),
    };
    let url = format!("rediss://127.0.0.1:{tls}?ca={}", key.display());
    let error = connect(&url, options).err().unwrap().to_string();
    assert!(error.contains("it holds no certificate"), "{error}");
}

#[tokio::test]
async fn wrong_passwords_and_missing_rights_are_told_by_every_form() {
    let Some(guard) = guarded(&["redis.conf", "cluster.conf"], Flaw::None) else {
        return;
    };
    let Some(cluster) = or_skip(RedisCluster::start_guarded(guard.guard.clone())) else {
        return;
    };
    let url = cluster_url(&cluster, &guard);
    let wrong = url.replace(PASSWORD, "wr0ng");
    refused(
        &wrong,
        &[
            "setting `lock`",
            "Password authentication failed",
            "redis://USER:PASSWORD",
        ],
    )
    .await;
    take(&lock_at(&url, "c"), &holder("me")).await;
    let rule = |words: &[&str]| {
        for port in cluster.ports() {
            let words = [&["ACL", "SETUSER", "campanile"], words].concat();
            cluster.cli(port, &words).unwrap();
        }
    };
    for (taken, given, told) in [
        (
            "-cluster|slots",
            "+cluster|slots",
            "'cluster|slots' command",
        ),
        ("-watch", "+watch", "'watch' command"),
        ("-publish", "+publish", "'publish' command"),
        (
            "resetkeys",
            "~{campanile:*}:*",
            "what the setting `cluster` says",
        ),
    ] {
        rule(&[taken]);
        let lock = lock_at(&url, "c");
        let error = match lock.acquire(&holder("me"), TTL).await {
            // What it asked of is there; the next step is refused.
            Ok(_) => lock.release(&holder("me")).await.unwrap_err(),
            Err(error) => error,
        };
        let story = story(&error);
        assert!(matches!(error, Error::Refused(_)), "{taken}: {error:?}");
        assert!(
            story.contains(told) && story.contains("setting `lock`"),
            "{story}"
        );
        rule(&[given]);
    }
    rule(&["resetchannels"]);
    let error = lock_at(&url, "c").signal(Signal::Work).await.unwrap_err();
    assert!(
        story(&error).contains("the channel of hints"),
        "{}",
        story(&error)
    );
}

/// Nothing in the sample of users is more than what is used: whatever is taken away is missed. Left out are `role`,
/// which Sentinel's way to the master asks, `asking`, which a moving slot needs, and `select`, of databases beside 0.
#[tokio::test]
async fn each_right_of_the_sample_is_used() {
    let Some(guard) = guarded(&["redis.conf", "cluster.conf"], Flaw::None) else {
        return;
    };
    let Some(cluster) = or_skip(RedisCluster::start_guarded(guard.guard.clone())) else {
        return;
    };
    let url = cluster_url(&cluster, &guard);
    let on_all = |words: &[&str]| -> Vec<String> {
        let answers = cluster
            .ports()
            .into_iter()
            .map(|port| cluster.cli(port, words));
        answers.map(|answer| answer.unwrap()).collect()
    };
    let text = sample("users.acl");
    let line = text
        .lines()
        .find(|line| line.starts_with("user campanile "))
        .unwrap();
    let rights: Vec<&str> = line
        .split(' ')
        .filter_map(|word| word.strip_prefix('+'))
        .collect();
    assert!(rights.len() > 15);
    for right in rights {
        if ["role", "asking", "select"].contains(&right) {
            continue;
        }
        on_all(&["ACL", "SETUSER", "campanile", &format!("-{right}")]);
        on_all(&["ACL", "LOG", "RESET"]);
        let (lock, me) = (lock_at(&url, "c"), holder("me"));
        let missed = || {
            on_all(&["ACL", "LOG"])
                .iter()
                .any(|log| log.contains(right))
        };
        let used = within(DEADLINE * 2, async {
            // All that a node does with its lock; what it hears, it hears on a connection of its own.
            for round in 1.. {
                if missed() {
                    return;
                }
                // Now and then nothing is said for long enough that a subscription asks for a sign of life.
                let silence = if round % 4 == 0 { 4_000 } else { 50 };
                let _ = lock.acquire(&me, TTL).await;
                let _ = lock.acquire(&me, TTL).await;
                let _ = lock.renew(&holder("you"), TTL).await;
                let _ = lock.signal(Signal::Work).await;
                let _ = lock.release(&me).await;
                let _ = lock.probe().await;
                pause(Duration::from_millis(silence)).await;
            }
        });
        assert!(used.await.is_some(), "nothing misses +{right}");
        on_all(&["ACL", "SETUSER", "campanile", &format!("+{right}")]);
    }
    let (lock, other) = (lock_at(&url, "c"), lock_at(&url, "c"));
    let _ = lock.release(&holder("me")).await;
    take(&lock, &holder("me")).await;
    hear(&other, &lock).await;
    assert_eq!(lock.probe().await.unwrap().unasked, [""; 0]);
}

#[tokio::test]
async fn a_sentinel_has_users_of_its_own() {
    let Some(guard) = guarded(&["redis.conf"], Flaw::None) else {
        return;
    };
    let Some(group) = or_skip(Sentinel::start_with(&sentinels(guard.guard.clone()))) else {
        return;
    };
    let url = sentinel_url(&group, &guard);
    let own = format!("sentinel_password={PASSWORD}");
    refused(
        &url.replace(&own, "sentinel_password=wr0ng"),
        &["setting `lock`", "?sentinel_username="],
    )
    .await;
    refused(
        &url.replace(&format!("campanile:{PASSWORD}@"), "campanile:wr0ng@"),
        &["Password authentication failed"],
    )
    .await;
    refused(
        &url.replace("/mymaster", "/other"),
        &["SENTINEL MASTERS", "setting `lock`"],
    )
    .await;
    let probe = lock_at(&url, "c").probe().await.unwrap();
    assert_eq!(probe.around.sentinels.len(), 3);
    let view = &probe.around.sentinels[0];
    assert_eq!((view.sentinels, view.quorum), (3, 2));
    assert_eq!(view.unasked, [""; 0]);
    let told = probe.remedies().join("\n");
    assert!(
        told.contains("CONFIG SET min-replicas-to-write 1"),
        "{told}"
    );
    for port in group.sentinel_ports() {
        let less = ["ACL", "SETUSER", "campanile", "-sentinel|ckquorum"];
        group.cli(port, &less).unwrap();
    }
    let told = lock_at(&url, "c")
        .probe()
        .await
        .unwrap()
        .remedies()
        .join("\n");
    assert!(told.contains("could not ask about the quorum"), "{told}");
}

#[tokio::test]
async fn a_scheme_of_another_kind_of_server_is_told_the_right_one() {
    let Some(cluster) = or_skip(RedisCluster::shared()) else {
        return;
    };
    let single = or_skip(Redis::shared()).unwrap();
    let port = single.port();
    refused(
        &format!("redis+cluster://127.0.0.1:{port}"),
        &["begin the setting `lock` with redis://"],
    )
    .await;
    refused(
        &format!("redis+sentinel://127.0.0.1:{port}/s"),
        &["let the setting `lock` name a Redis"],
    )
    .await;
    let slot = cluster.slot_of(&key("c"));
    let ours = cluster.master_of(slot).unwrap();
    let other = cluster
        .masters()
        .into_iter()
        .find(|port| *port != ours)
        .unwrap();
    refused(
        &format!("redis://127.0.0.1:{other}"),
        &["begin the setting `lock` with redis+cluster://"],
    )
    .await;
    let told = lock_at(&format!("redis://127.0.0.1:{ours}"), "c")
        .probe()
        .await
        .unwrap()
        .remedies();
    assert!(
        told.join("\n")
            .contains("this Redis is a node of a cluster"),
        "{told:?}"
    );
}

#[tokio::test]
async fn addresses_that_nodes_announce_are_taken_and_named_when_they_lead_nowhere() {
    let Some(guard) = guarded(&["redis.conf", "cluster.conf"], Flaw::None) else {
        return;
    };
    let Some(cluster) = or_skip(RedisCluster::start_guarded(guard.guard.clone())) else {
        return;
    };
    let ours = cluster.master_of(cluster.slot_of(&key("c"))).unwrap();
    let seed = cluster.replica_of(ours);
    let announce = |port: u16, name: &str, value: &str| {
        cluster.cli(port, &["CONFIG", "SET", name, value]).unwrap();
    };
    for port in cluster.ports() {
        announce(port, "cluster-announce-hostname", "localhost");
        announce(port, "cluster-preferred-endpoint-type", "hostname");
    }
    let slots = || cluster.cli(seed, &["CLUSTER", "SLOTS"]).unwrap();
    xtask::servers::wait_until("all names are known", DEADLINE, || {
        slots().lines().filter(|line| *line == "localhost").count() >= 6
    });
    let one = format!(
        "rediss+cluster://{}127.0.0.1:{seed}?{}",
        user(),
        guard.certificates.ca()
    );
    take(&lock_at(&one, "c"), &holder("me")).await;
    let dead = free_port().to_string();
    announce(ours, "cluster-announce-tls-port", &dead);
    xtask::servers::wait_until("the dead address is known", DEADLINE, || {
        slots().contains(&dead)
    });
    let error = lock_at(&one, "c")
        .renew(&holder("me"), TTL)
        .await
        .unwrap_err();
    let told = story(&error);
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(
        told.contains("`cluster-announce-ip`") && told.contains(&dead),
        "{told}"
    );
}

/// A stranger on the port answers without end: what it sends is not kept.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a stranger's server has a thread of its own"
)]
async fn a_server_that_never_stops_talking_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    let flood = std::thread::spawn(move || {
        // Each connection is greeted well, and its question answered without end.
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 4_096];
            if !stream.read(&mut asked).is_ok_and(|read| read > 0) {
                return;
            }
            stream.write_all(b"+OK\r\n+OK\r\n").unwrap();
            assert!(stream.read(&mut asked).unwrap() > 0);
            let mut sent = 0_u64;
            let chunk = [b"$60000\r\n".as_slice(), &[b'x'; 60_000], b"\r\n"].concat();
            let mut next: &[u8] = b"*16384\r\n";
            while stream.write_all(next).is_ok() {
                sent += next.len() as u64;
                next = &chunk;
            }
            tell.send(sent).unwrap();
        }
    });
    let lock = lock_at(&format!("redis+cluster://127.0.0.1:{port}"), "c");
    let error = lock.acquire(&holder("me"), TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    println!("flooded: {}", story(&error));
    let sent = told.recv_timeout(DEADLINE).unwrap();
    // Its own buffers and the kernel's hold some of it; without the bound it would be all that half a second allows.
    assert!(
        (1024 * 1024..24 * 1024 * 1024).contains(&sent),
        "{sent} bytes were taken"
    );
    drop(lock);
    // The listener waits for one more connection, which says nothing.
    drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
    flood.join().unwrap();
}

/// The open guard is no guard: the default of the private servers.
#[test]
fn the_samples_lock_everybody_else_out() {
    let Some(server) = or_skip(Redis::start_guarded(
        RedisGuard::default(),
        &["--aclfile", &guarded_file()],
    )) else {
        return;
    };
    let error = server.cli(&["GET", "x"]).unwrap_err().to_string();
    assert!(error.contains("NOAUTH"), "{error}");
}

fn guarded_file() -> String {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/redis/users.acl");
    path.display().to_string()
}
