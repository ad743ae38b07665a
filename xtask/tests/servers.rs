//! The private servers, seen as their users see them: they start, break and come back on request, and leave no process
//! and no folder behind.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use xtask::or_skip;
use xtask::servers::{
    ActiveMq, ActiveMqOptions, MariaDb, Postgres, Process, RabbitMq, Redis, RedisCluster, Sentinel,
    TempDir, holds_within, on_path, wait_until,
};

const LIMIT: Duration = Duration::from_secs(60);

/// The process ids whose command line names `text`.
fn processes_naming(text: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| pid != std::process::id())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
        })
        .collect()
}

/// The kernel's segments of System V shared memory, by number.
fn shared_memory() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(str::to_owned)
        .collect()
}

#[test]
fn postgres_keeps_what_it_committed_and_leaves_nothing() {
    let Some(server) = or_skip(Postgres::start()) else {
        return;
    };
    let first = server.create_database("Some Name").unwrap();
    let second = server.create_database("Some Name").unwrap();
    assert_ne!(first, second);
    server
        .sql_at(&first, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
        .unwrap();
    server.kill9();
    assert!(server.sql("SELECT 1").is_err());
    server.restart().unwrap();
    assert_eq!(
        server.sql_at(&first, "SELECT n FROM t").unwrap().trim(),
        "7"
    );
    server.restart().unwrap();
    let path = server.folder().display().to_string();
    assert!(!processes_naming(&path).is_empty());
    let note = std::fs::read_to_string(server.folder().join("data/postmaster.pid")).unwrap();
    let segment = note
        .lines()
        .nth(6)
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .to_owned();
    assert!(shared_memory().contains(&segment));
    server.kill9();
    assert!(
        shared_memory().contains(&segment),
        "a killed server leaves its segment"
    );
    drop(server);
    assert!(!shared_memory().contains(&segment));
    wait_until("PostgreSQL's processes are gone", LIMIT, || {
        processes_naming(&path).is_empty()
    });
    assert!(!Path::new(&path).exists());
}

#[test]
fn mariadb_keeps_what_it_committed_and_leaves_nothing() {
    let Some(server) = or_skip(MariaDb::start()) else {
        return;
    };
    let first = server.create_database("Some Name").unwrap();
    assert_ne!(first, server.create_database("Some Name").unwrap());
    server
        .sql_at(&first, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
        .unwrap();
    server.kill9();
    assert!(server.sql("SELECT 1").is_err());
    server.restart().unwrap();
    let kept = server.sql_at(&first, "SELECT n FROM t").unwrap();
    assert_eq!(kept.trim(), "7");
    let path = server.folder().display().to_string();
    assert!(!processes_naming(&path).is_empty());
    drop(server);
    wait_until("MariaDB's processes are gone", LIMIT, || {
        processes_naming(&path).is_empty()
    });
    assert!(!Path::new(&path).exists());
}

#[test]
fn a_paused_postgres_answers_nobody_until_it_is_resumed() {
    let Some(server) = or_skip(Postgres::start()) else {
        return;
    };
    server.pause();
    let waiting = std::thread::scope(|scope| {
        let question = scope.spawn(|| server.sql("SELECT 41 + 1"));
        let answered = holds_within(Duration::from_millis(500), || question.is_finished());
        server.resume();
        assert!(!answered, "a paused server answered");
        question.join().unwrap()
    });
    assert_eq!(waiting.unwrap().trim(), "42");
}

#[test]
fn a_shared_server_is_one_per_process() {
    let Some(one) = or_skip(Redis::shared()) else {
        return;
    };
    let two = Redis::shared().unwrap();
    assert_eq!(one.url(), two.url());
    assert_eq!(one.cli(&["PING"]).unwrap(), "PONG");
    let Some(one) = or_skip(Postgres::shared()) else {
        return;
    };
    assert_eq!(one.url(), Postgres::shared().unwrap().url());
    let url = one.create_database("shared").unwrap();
    assert_eq!(one.sql_at(&url, "SELECT 1").unwrap().trim(), "1");
}

#[test]
fn redis_forgets_when_killed_and_leaves_nothing() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    server.cli(&["SET", "a", "1"]).unwrap();
    server.kill9();
    assert!(server.cli(&["PING"]).is_err());
    server.restart().unwrap();
    assert_eq!(server.cli(&["EXISTS", "a"]).unwrap(), "0");
    server.pause();
    server.resume();
    assert_eq!(server.cli(&["PING"]).unwrap(), "PONG");
    let path = server.folder().to_owned();
    drop(server);
    assert!(!path.exists());
}

#[test]
fn sentinels_choose_another_master_when_it_dies() {
    let Some(group) = or_skip(Sentinel::start(3, 2)) else {
        return;
    };
    assert_eq!(group.url().matches("127.0.0.1").count(), 3);
    let old = group.master_port().unwrap();
    group.cli(old, &["SET", "a", "1"]).unwrap();
    assert_eq!(group.kill9_master(), old);
    wait_until("another master leads", LIMIT, || {
        group.master_port().is_some_and(|port| port != old)
    });
    group.restart_node(old).unwrap();
    assert_eq!(
        group.cli(old, &["DBSIZE"]).unwrap(),
        "0",
        "a killed server comes back empty"
    );
    let path = group.folder().to_owned();
    drop(group);
    assert!(!path.exists());
}

#[test]
fn activemq_comes_back_on_its_ports_and_a_standby_takes_its_store() {
    let Some(broker) = or_skip(ActiveMq::start()) else {
        return;
    };
    let (stomp, openwire) = (broker.stomp_url(), broker.openwire_url());
    broker.kill9();
    assert!(!broker.is_accepting());
    broker.restart().unwrap();
    assert_eq!(
        (broker.stomp_url(), broker.openwire_url()),
        (stomp, openwire)
    );
    let standby = broker.start_standby().unwrap();
    assert!(!standby.is_accepting());
    broker.kill9();
    wait_until("the standby listens", LIMIT, || standby.is_accepting());
    let path = broker.folder().to_owned();
    drop(broker);
    assert!(path.exists(), "the standby still uses the store");
    drop(standby);
    assert!(!path.exists());
}

#[test]
fn activemq_with_users_refuses_a_stranger() {
    let options = ActiveMqOptions {
        users: vec![("sched".to_owned(), "s3cret".to_owned())],
        memory_limit: Some(200_000),
        ..ActiveMqOptions::default()
    };
    let Some(broker) = or_skip(ActiveMq::start_with(options)) else {
        return;
    };
    assert!(
        stomp_connect(broker.stomp_port(), "login:sched\npasscode:s3cret\n")
            .starts_with("CONNECTED")
    );
    assert!(
        stomp_connect(broker.stomp_port(), "login:sched\npasscode:wrong\n").starts_with("ERROR")
    );
    assert!(stomp_connect(broker.stomp_port(), "").starts_with("ERROR"));
    assert_eq!(
        broker.stomp_url_as("a", "b"),
        format!("stomp://a:b@127.0.0.1:{}", broker.stomp_port())
    );
}

/// The first bytes of the broker's answer to CONNECT with these headers.
fn stomp_connect(port: u16, headers: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "CONNECT\naccept-version:1.2\nhost:localhost\n{headers}\n\0"
    )
    .unwrap();
    let mut buffer = [0; 256];
    let length = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn a_process_and_what_it_started_end_with_its_value() {
    let folder = TempDir::new("process").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 1000 & echo child $!; wait"]);
    let process = Process::spawn(&shell, &folder.join("log")).unwrap();
    wait_until("the child is there", LIMIT, || {
        process.children().len() == 1
    });
    let child = process.children()[0];
    assert!(process.is_alive());
    drop(process);
    wait_until("the child is gone", LIMIT, || !is_running(child));
}

#[test]
fn a_process_tells_how_it_ended() {
    let folder = TempDir::new("process").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "echo $GREETING; exit 3"])
        .env("GREETING", "hello");
    let process = Process::spawn(&shell, &folder.join("log")).unwrap();
    assert_eq!(process.wait_exit(LIMIT).unwrap().code(), Some(3));
    assert_eq!(process.log(), "hello\n");
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000");
    let process = Process::spawn(&sleeper, &folder.join("log2")).unwrap();
    process.sigstop();
    wait_until("it is stopped", LIMIT, || {
        state_of(process.pid()) == Some('T')
    });
    process.sigcont();
    wait_until("it goes on", LIMIT, || state_of(process.pid()) == Some('S'));
    process.sigterm();
    assert!(!process.wait_exit(LIMIT).unwrap().success());
    assert!(!process.is_alive());
}

#[test]
fn the_kernel_ends_a_server_whose_starter_died() {
    // The starter is this test program itself, run once more for the helper below, and killed.
    let folder = TempDir::new("starter").unwrap();
    let mut starter = Command::new(std::env::current_exe().unwrap());
    starter.args([
        "--exact",
        "helper_starts_a_sleeper_and_hangs",
        "--nocapture",
        "--test-threads=1",
    ]);
    starter.env("CAMPANILE_HELPER", folder.path());
    let starter = Process::spawn(&starter, &folder.join("log")).unwrap();
    let note = folder.join("pid");
    wait_until("the sleeper is there", LIMIT, || {
        std::fs::read_to_string(&note).is_ok_and(|text| text.ends_with('\n'))
    });
    let sleeper: u32 = std::fs::read_to_string(&note)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(is_running(sleeper));
    starter.kill9();
    wait_until("the sleeper is gone", LIMIT, || !is_running(sleeper));
}

/// Does nothing in an ordinary run: it is the process that the test above kills.
#[test]
fn helper_starts_a_sleeper_and_hangs() {
    let Ok(folder) = std::env::var("CAMPANILE_HELPER") else {
        return;
    };
    let folder = Path::new(&folder);
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000");
    let sleeper = Process::spawn(&sleeper, &folder.join("sleeper.log")).unwrap();
    std::fs::write(folder.join("pid"), format!("{}\n", sleeper.pid())).unwrap();
    let _ = sleeper.wait_exit(Duration::from_secs(1_000));
}

#[test]
fn the_search_path_is_searched() {
    assert!(on_path("sh"));
    assert!(!on_path("no-such-program-anywhere"));
}

fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn is_running(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z')
}

#[test]
fn a_redis_cluster_replaces_its_master_moves_slots_and_leaves_nothing() {
    let Some(cluster) = or_skip(RedisCluster::start()) else {
        return;
    };
    let folder = cluster.folder().display().to_string();
    assert_eq!((cluster.ports().len(), cluster.masters().len()), (6, 3));
    let slot = cluster.slot_of("key");
    let old = cluster.master_of(slot).unwrap();
    let replica = cluster.replica_of(old);
    cluster.cli(old, &["SET", "key", "value"]).unwrap();
    cluster.kill9(old);
    wait_until("the replica takes the master's place", LIMIT, || {
        cluster.master_of(slot) == Some(replica)
    });
    cluster.restart(old).unwrap();
    cluster.wait_well().unwrap();
    let to = cluster.masters().into_iter().find(|port| *port != replica);
    let to = to.unwrap();
    cluster.begin_move(slot, replica, to).unwrap();
    cluster.carry("key", replica, to).unwrap();
    cluster.end_move(slot, replica, to).unwrap();
    wait_until("the others know", LIMIT, || {
        cluster.master_of(slot) == Some(to)
    });
    cluster.pause(to);
    assert!(cluster.cli(to, &["PING"]).is_err());
    cluster.resume(to);
    assert_eq!(cluster.cli(to, &["GET", "key"]).unwrap(), "value");
    drop(cluster);
    wait_until("its processes are gone", LIMIT, || {
        processes_naming(&folder).is_empty()
    });
    assert!(!Path::new(&folder).exists());
}

#[test]
fn rabbitmq_is_killed_comes_back_and_leaves_nothing() {
    let Some(server) = or_skip(RabbitMq::start()) else {
        return;
    };
    let (folder, port) = (server.folder().to_owned(), server.amqp_port());
    let said = server.control(&["status"]).unwrap();
    assert!(said.contains("one@localhost"), "{said}");
    server.kill9();
    wait_until("nobody listens", LIMIT, || !server.is_accepting());
    server.restart().unwrap();
    assert!(server.is_accepting());
    drop(server);
    wait_until("nobody listens at the end", LIMIT, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    assert!(!folder.exists());
}
