//! What `doctor` says of a lock in Redis: settings that are a risk, groups that could not replace their master, a cluster
//! that does not serve, clocks, and what its user may not ask.

use xtask::servers::{Redis, RedisCluster, Sentinel, TempDir, wait_until};

use super::cli::{out, run};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// What is said with this lock, and whether it is a failure.
fn said(folder: &TempDir, lock: &str) -> (String, bool) {
    let store = ["--store", "sqlite:x.db", "--listen", "127.0.0.1:0"];
    let migrate = run(folder, &[&["migrate"], &store[..]].concat());
    assert_eq!(migrate.status.code(), Some(0));
    let done = run(
        folder,
        &[&["doctor"], &store[..], &["--lock", lock]].concat(),
    );
    (out(&done), done.status.code() == Some(1))
}

/// The line of this level that says so.
#[track_caller]
fn tells(said: &str, level: &str, words: &str) {
    let line = said.lines().find(|line| line.contains(words));
    let line = line.unwrap_or_else(|| panic!("nothing says `{words}`:\n{said}"));
    assert!(line.starts_with(level), "{line}");
}

#[test]
fn doctor_judges_a_single_redis() {
    let folder = TempDir::new("doctor-redis").unwrap();
    let risky = ["--maxmemory-policy", "allkeys-lru"];
    let Some(server) = xtask::or_skip(Redis::start_with(&risky)) else {
        return;
    };
    let (told, failed) = said(&folder, &server.url());
    assert!(!failed, "{told}");
    tells(&told, "warning", "CONFIG SET maxmemory-policy noeviction");
    tells(&told, "ok", "nothing is kept on the disk");
    tells(&told, "ok", "this machine, the store and Redis agree");
    let set = |name: &str, value: &str| server.cli(&["CONFIG", "SET", name, value]).unwrap();
    set("maxmemory-policy", "noeviction");
    set("save", "60 1");
    set("min-replicas-to-write", "1");
    let (told, failed) = said(&folder, &server.url());
    assert!(failed, "{told}");
    tells(&told, "ok", "is noeviction");
    tells(&told, "ok", "snapshots are on");
    tells(&told, "FAILED", "`min-replicas-to-write` wants 1");
    // A user who may do nothing is told what could not be asked, and never that all is well.
    let poor = [
        "ACL", "SETUSER", "poor", "on", ">secret", "~*", "&*", "+ping",
    ];
    server.cli(&poor).unwrap();
    let poor = format!("redis://poor:secret@127.0.0.1:{}", server.port());
    let (told, _) = said(&folder, &poor);
    for right in ["+info", "+config|get", "+time"] {
        tells(&told, "warning", right);
    }
    assert!(
        !told.contains("noeviction") && !told.contains("agree\nok       lock"),
        "{told}"
    );
    assert!(!told.contains("and Redis agree"), "{told}");
}

#[test]
fn doctor_judges_a_sentinel_group() {
    let folder = TempDir::new("doctor-sentinel").unwrap();
    let Some(group) = xtask::or_skip(Sentinel::start(2, 1)) else {
        return;
    };
    let (told, failed) = said(&folder, &group.url());
    assert!(!failed, "{told}");
    tells(&told, "warning", "knows 2 sentinels in all");
    tells(&told, "warning", "CONFIG SET min-replicas-to-write 1");
    let port = group.sentinel_ports()[0];
    let quorum = ["SENTINEL", "SET", Sentinel::SERVICE, "quorum", "3"];
    group.cli(port, &quorum).unwrap();
    let (told, failed) = said(&folder, &group.url());
    assert!(failed, "{told}");
    tells(&told, "FAILED", "could not replace the master now");
    let url = group.url().replace(
        "://",
        &format!("://127.0.0.1:{},", xtask::servers::free_port()),
    );
    tells(
        &said(&folder, &url).0,
        "warning",
        "of the setting `lock` gives no answer",
    );
    let (told, failed) = said(&folder, &group.url().replace("mymaster", "other"));
    assert!(failed, "{told}");
    tells(&told, "FAILED", "SENTINEL MASTERS");
}

#[test]
fn doctor_judges_a_cluster() {
    let folder = TempDir::new("doctor-cluster").unwrap();
    let Some(cluster) = xtask::or_skip(RedisCluster::start()) else {
        return;
    };
    let (told, failed) = said(&folder, &cluster.url());
    assert!(!failed, "{told}");
    tells(
        &told,
        "ok",
        "the cluster's state is ok, 16384 of 16384 slots are served by 3 masters",
    );
    tells(&told, "ok", "this machine, the store and Redis agree");
    // The lock's master loses its replica, and another slot its master and its replica.
    let ours = cluster
        .master_of(cluster.slot_of("{campanile:campanile}:lock"))
        .unwrap();
    let other = cluster
        .masters()
        .into_iter()
        .find(|port| *port != ours)
        .unwrap();
    let replicas = [cluster.replica_of(ours), cluster.replica_of(other)];
    let alone = format!("redis://127.0.0.1:{ours}");
    tells(
        &said(&folder, &alone).0,
        "warning",
        "this Redis is a node of a cluster",
    );
    for port in replicas.into_iter().chain([other]) {
        cluster.kill9(port);
    }
    wait_until("the cluster is down and the replica gone", PATIENCE, || {
        let info = cluster.cli(ours, &["CLUSTER", "INFO"]).unwrap();
        let replication = cluster.cli(ours, &["INFO", "replication"]).unwrap();
        info.contains("cluster_state:fail") && replication.contains("connected_slaves:0")
    });
    let (told, failed) = said(&folder, &cluster.url());
    assert!(failed, "{told}");
    tells(&told, "FAILED", "the cluster's state is `fail`");
    tells(&told, "warning", "nobody takes its place when it dies");
    tells(&told, "warning", "of the setting `lock` gives no answer");
}
