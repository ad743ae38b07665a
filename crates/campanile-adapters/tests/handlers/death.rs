//! Programs end when they must: told to stop, left by their worker (`kill -9` too), or done and with leftovers. Each
//! test starts a family that holds on to life in every way a process can, and waits until none of it is there.

use std::time::Duration;

use campanile_core::port::handler::{Context, Executor as _, Failure, Verdict};
use campanile_core::system;
use campanile_core::task::{CommandSpec, HandlerSpec};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use super::command::{executor, shell};
use super::{DEADLINE, Folder, context, until};

/// Names the folder that a worker process of [`a_worker_that_dies`] is to use.
const FOLDER: &str = "CAMPANILE_TEST_FOLDER";

/// A program with a child in its group, one in a session of its own, one that nobody waits for, one that is deaf to
/// polite signals, and one in a group of its own; each writes its number into the folder. Then it runs `rest`.
fn family(folder: &str, rest: &str) -> CommandSpec {
    shell(&format!(
        "cd '{folder}'
         say() {{ echo $1 > $2.new && mv $2.new $2.pid; }}
         sleep 1000 & say $! child
         setsid sh -c 'echo $$ > session.new; mv session.new session.pid; exec sleep 1000' &
         (setsid sh -c 'echo $$ > orphan.new; mv orphan.new orphan.pid; exec sleep 1000' &)
         sh -c 'trap \"\" TERM INT HUP; echo $$ > deaf.new; mv deaf.new deaf.pid; while :; do sleep 1000; done' &
         bash -mc 'sleep 1000 & echo $! > group.new; mv group.new group.pid; wait' &
         say $$ program
         {rest}"
    ))
}

const MEMBERS: [&str; 6] = ["program", "child", "session", "orphan", "deaf", "group"];

fn number(folder: &Folder, member: &str) -> Option<i32> {
    let text = std::fs::read_to_string(folder.file(&format!("{member}.pid"))).ok()?;
    text.trim().parse().ok()
}

/// A process that has ended and isn't reaped yet is not alive.
pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}

/// Waits until the whole family is there; answers its numbers.
async fn born(folder: &Folder) -> Vec<i32> {
    until("the family is there", || {
        MEMBERS.iter().all(|m| number(folder, m).is_some())
    })
    .await;
    let numbers: Vec<i32> = MEMBERS.iter().filter_map(|m| number(folder, m)).collect();
    assert!(numbers.iter().all(|pid| alive(*pid)), "{numbers:?}");
    numbers
}

async fn gone(numbers: &[i32]) {
    until("nobody of the family is left", || {
        numbers.iter().all(|pid| !alive(*pid))
    })
    .await;
}

fn attempt(
    spec: CommandSpec,
    grace: Duration,
    context: Context,
) -> tokio::task::JoinHandle<Result<(), Failure>> {
    system::spawn(async move {
        executor(Some(&["*"]), grace)
            .execute(&HandlerSpec::Command(spec), context)
            .await
            .map(drop)
    })
}

async fn ended(attempt: tokio::task::JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    system::within(DEADLINE, attempt).await.unwrap().unwrap()
}

#[tokio::test]
async fn stop_ends_the_program_and_all_it_started() {
    let folder = Folder::new();
    let context = context(Value::Null);
    let stop = context.stop.clone();
    let attempt = attempt(
        family(&folder.file(""), "wait"),
        Duration::from_secs(20),
        context,
    );
    let numbers = born(&folder).await;
    stop.cancel();
    assert!(
        matches!(ended(attempt).await, Err(m) if m.verdict() == Verdict::Retry && m.message().contains("stopped"))
    );
    // By the time the executor answers, not later.
    assert!(numbers.iter().all(|pid| !alive(*pid)), "{numbers:?}");
}

#[tokio::test]
async fn a_program_may_clean_up_within_its_grace() {
    let folder = Folder::new();
    let context = context(Value::Null);
    let (stop, log) = (context.stop.clone(), context.log.clone());
    let rest = "trap 'echo cleaned; exit 0' TERM; touch ready; while :; do wait; done";
    let attempt = attempt(family(&folder.file(""), rest), DEADLINE, context);
    let numbers = born(&folder).await;
    until("its trap is set", || folder.path().join("ready").exists()).await;
    stop.cancel();
    assert!(ended(attempt).await.is_err());
    assert!(log.text().contains("cleaned"), "{}", log.text());
    gone(&numbers).await;
}

#[tokio::test]
async fn a_program_that_wont_stop_is_killed() {
    let folder = Folder::new();
    let context = context(Value::Null);
    let stop = context.stop.clone();
    let rest = "trap '' TERM; touch ready; while :; do sleep 1000; done";
    let attempt = attempt(
        family(&folder.file(""), rest),
        Duration::from_millis(50),
        context,
    );
    let numbers = born(&folder).await;
    until("its trap is set", || folder.path().join("ready").exists()).await;
    stop.cancel();
    assert!(ended(attempt).await.is_err());
    gone(&numbers).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let folder = Folder::new();
    let rest = "until [ -e session.pid ] && [ -e orphan.pid ] && [ -e deaf.pid ] && [ -e group.pid ]; do sleep 0.02; done; exit 0";
    let attempt = attempt(
        family(&folder.file(""), rest),
        Duration::from_secs(20),
        context(Value::Null),
    );
    assert_eq!(ended(attempt).await, Ok(()));
    let numbers: Vec<i32> = MEMBERS.iter().filter_map(|m| number(&folder, m)).collect();
    assert_eq!(numbers.len(), MEMBERS.len());
    assert!(numbers.iter().all(|pid| !alive(*pid)), "{numbers:?}");
}

#[tokio::test]
async fn an_attempt_that_is_dropped_ends_too() {
    let folder = Folder::new();
    let attempt = attempt(
        family(&folder.file(""), "wait"),
        Duration::from_secs(20),
        context(Value::Null),
    );
    let numbers = born(&folder).await;
    attempt.abort();
    gone(&numbers).await;
}

#[tokio::test]
async fn a_supervisor_that_is_killed_takes_the_group_with_it() {
    let folder = Folder::new();
    let spec = shell(&format!(
        "cd '{}'; sleep 1000 & echo $! > child.pid; echo $PPID > parent.pid; echo $$ > program.pid; wait",
        folder.file("")
    ));
    let attempt = attempt(spec, Duration::from_secs(20), context(Value::Null));
    until("the program runs", || number(&folder, "program").is_some()).await;
    signal::kill(
        Pid::from_raw(number(&folder, "parent").unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    let end = ended(attempt).await;
    assert!(
        matches!(&end, Err(m) if m.verdict() == Verdict::Retry && m.message().contains("supervisor")),
        "{end:?}"
    );
    gone(&[
        number(&folder, "program").unwrap(),
        number(&folder, "child").unwrap(),
    ])
    .await;
}

#[tokio::test]
async fn polite_signals_to_a_supervisor_change_nothing() {
    let folder = Folder::new();
    let spec = shell(&format!(
        "cd '{}'; echo $PPID > parent.pid; echo $$ > program.pid; until [ -e go ]; do sleep 0.02; done; echo done",
        folder.file("")
    ));
    let context = context(Value::Null);
    let log = context.log.clone();
    let attempt = attempt(spec, Duration::from_secs(20), context);
    until("the program runs", || number(&folder, "program").is_some()).await;
    let supervisor = Pid::from_raw(number(&folder, "parent").unwrap());
    for polite in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signal::kill(supervisor, polite).unwrap();
    }
    folder.write("go", "", 0o644);
    assert_eq!(ended(attempt).await, Ok(()));
    assert_eq!(log.text(), "done\n");
}

/// Not a test of anything by itself: the worker process that [`kill_9_of_the_worker_ends_its_programs`] starts from
/// this very binary, and kills. Without its folder in the environment it has nothing to do.
#[tokio::test]
async fn a_worker_that_dies() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let spec = family(folder.to_str().unwrap(), "wait");
    let attempt = attempt(spec, Duration::from_secs(20), context(Value::Null));
    let end = attempt.await.unwrap();
    panic!("it was to be killed, and ended with {end:?}");
}

#[tokio::test]
async fn kill_9_of_the_worker_ends_its_programs() {
    let folder = Folder::new();
    let mut worker = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "handlers::death::a_worker_that_dies",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let numbers = born(&folder).await;
    let pid = Pid::from_raw(worker.id().unwrap().try_into().unwrap());
    signal::kill(pid, Signal::SIGKILL).unwrap();
    let status = worker.wait().await.unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
    gone(&numbers).await;
}
