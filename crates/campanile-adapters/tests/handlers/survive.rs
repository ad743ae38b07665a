//! Programs that try to outlive their attempt, or to reach the worker: by their own session, by a double fork, by killing or
//! stopping their supervisor, by multiplying, by leaving their cgroup; with and without a user and a cgroup of their own.
//! Each test runs in a process of its own, because the worker of these tests takes in orphans.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campanile_adapters::handlers::{Allowed, Cells, Command, CommandOptions, RunAs};
use campanile_core::port::handler::{Context, Executor as _, Failure};
use campanile_core::system;
use campanile_core::task::{CommandSpec, HandlerSpec};
use nix::unistd::Uid;
use serde_json::Value;
use xtask::servers::children_of;

use super::command::shell;
use super::death::alive;
use super::{DEADLINE, context, until};

/// Whom programs run as.
const USER: &str = "nobody";

/// Whether this is a process of the test's own.
fn is_alone(test: &str) -> bool {
    xtask::is_alone(&format!("handlers::survive::{test}"), DEADLINE * 4)
}

/// How programs are contained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    user: bool,
    cell: bool,
}

const WAYS: [Way; 4] = [
    Way {
        user: false,
        cell: false,
    },
    Way {
        user: false,
        cell: true,
    },
    Way {
        user: true,
        cell: false,
    },
    Way {
        user: true,
        cell: true,
    },
];

/// The ways that this machine knows; of the others the run of the tests is told.
fn ways(wanted: impl Fn(&Way) -> bool) -> Vec<Way> {
    let (root, cells) = (Uid::effective().is_root(), Cells::open());
    let all = WAYS.into_iter().filter(wanted);
    all.filter(|way| {
        if way.user && !root {
            xtask::skip::skip("only root can run programs as another user");
        } else if let (true, Err(why)) = (way.cell, &cells) {
            xtask::skip::skip(&format!("no cgroup for programs: {why}"));
        } else {
            return true;
        }
        false
    })
    .collect()
}

/// A folder into which whoever a program runs as can write.
struct Open(PathBuf);

impl Open {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("campanile-survive-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    /// What a process has written there, once it is whole.
    fn number(&self, name: &str) -> Option<i32> {
        std::fs::read_to_string(self.0.join(format!("{name}.pid")))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// All numbers that were written.
    fn numbers(&self) -> Vec<i32> {
        let names = std::fs::read_dir(&self.0)
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let of = names.filter(|path| path.extension().is_some_and(|e| e == "pid"));
        of.filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok())
            .collect()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Attempt {
    context: Context,
    running: tokio::task::JoinHandle<Result<(), Failure>>,
    folder: Open,
    cells: Option<Cells>,
}

impl Attempt {
    fn start(way: Way, grace: Duration, script: &str) -> Self {
        Self::of(way, grace, |spec| spec, script)
    }

    /// `say NAME` in the script writes the number of the shell that says it.
    fn of(
        way: Way,
        grace: Duration,
        change: impl FnOnce(CommandSpec) -> CommandSpec,
        script: &str,
    ) -> Self {
        let folder = Open::new();
        let cells = way.cell.then(|| Cells::open().unwrap());
        let executor = Command::new(CommandOptions {
            allowed: Some(vec![Allowed::any()]),
            run_as: way.user.then(|| RunAs::from_here(USER).unwrap()),
            cells: cells.clone(),
            adopts: true,
            supervisor: PathBuf::from(env!("CARGO_BIN_EXE_campanile-supervise")),
            grace,
            ..CommandOptions::default()
        });
        let say = "say() { echo $1 >$2.new; mv $2.new $2.pid; }";
        let spec = change(shell(&format!(
            "cd {}; {say}; {script}",
            folder.0.display()
        )));
        let context = context(Value::Null);
        let handed = context.clone();
        let running = system::spawn(async move {
            let handler = HandlerSpec::Command(spec);
            executor.execute(&handler, handed).await.map(drop)
        });
        Self {
            context,
            running,
            folder,
            cells,
        }
    }

    async fn says(&self, name: &str) -> i32 {
        until(name, || self.folder.number(name).is_some()).await;
        self.folder.number(name).unwrap()
    }

    /// Its end; nothing of it lives then, not even a moment, and its cgroup is gone.
    async fn end(&mut self) -> Result<(), Failure> {
        let end = system::within(DEADLINE, &mut self.running)
            .await
            .unwrap()
            .unwrap();
        let numbers = self.folder.numbers();
        assert!(
            numbers.iter().all(|pid| !alive(*pid)),
            "{numbers:?}: {}",
            self.context.log.text()
        );
        if let Some(cells) = &self.cells {
            let left = std::fs::read_dir(cells.path()).unwrap().flatten();
            let folders = left.filter(|entry| entry.file_type().unwrap().is_dir());
            assert_eq!(folders.count(), 0);
        }
        end
    }
}

/// Starts one in a session of its own whose parent is gone, deaf to what is polite, with the output still open.
const HIDDEN: &str = "(setsid sh -c 'trap \"\" TERM INT HUP; echo $$ >hidden.new; mv hidden.new hidden.pid; while :; do sleep 1000; done' &)
     until [ -e hidden.pid ]; do sleep 0.02; done;";

#[tokio::test]
async fn a_session_and_a_double_fork_do_not_help() {
    if !is_alone("a_session_and_a_double_fork_do_not_help") {
        return;
    }
    for way in ways(|_| true) {
        let mut attempt = Attempt::start(way, DEADLINE, &format!("{HIDDEN} echo done"));
        assert_eq!(attempt.end().await, Ok(()), "{way:?}");
        assert!(attempt.context.log.text().contains("done"));

        let mut attempt = Attempt::start(
            way,
            Duration::from_millis(200),
            &format!("{HIDDEN} say $$ me; trap '' TERM; while :; do sleep 1000; done"),
        );
        attempt.says("me").await;
        attempt.context.stop.cancel();
        assert!(attempt.end().await.is_err(), "{way:?}");
    }
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing() {
    if !is_alone("a_killed_supervisor_leaves_nothing") {
        return;
    }
    for way in ways(|way| !way.user) {
        let script = format!(
            "{HIDDEN} (sleep 1000 & echo $! >child.new; mv child.new child.pid); say $$ me; kill -9 $PPID; sleep 1000"
        );
        let mut attempt = Attempt::start(way, DEADLINE, &script);
        let end = attempt.end().await.unwrap_err();
        assert!(end.message().contains("supervisor"), "{way:?}: {end:?}");
        assert_eq!(attempt.folder.numbers().len(), 3, "{way:?}");
    }
}

#[tokio::test]
async fn another_user_can_do_nothing_to_the_supervisor() {
    if !is_alone("another_user_can_do_nothing_to_the_supervisor") {
        return;
    }
    for way in ways(|way| way.user) {
        let script = "kill -9 $PPID || kill -STOP $PPID || echo refused; cat /proc/$PPID/environ >/dev/null || echo unread;
             id; grep -E 'NoNewPrivs|CapEff|CapAmb|Groups' /proc/self/status; echo open >/dev/stderr; cat /dev/stdin";
        let mut attempt = Attempt::of(
            way,
            DEADLINE,
            |spec| CommandSpec {
                stdin: Some("read".to_owned()),
                ..spec
            },
            script,
        );
        assert_eq!(attempt.end().await, Ok(()), "{way:?}");
        let text = attempt.context.log.text();
        for part in [
            "refused",
            "unread",
            "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)",
            "open",
            "read",
        ] {
            assert!(text.contains(part), "{way:?}: {part}: {text}");
        }
        let status = |name: &str| {
            text.lines()
                .find_map(|l| l.strip_prefix(name))
                .unwrap()
                .trim()
                .to_owned()
        };
        assert_eq!(status("NoNewPrivs:"), "1");
        for rights in ["CapEff:", "CapAmb:"] {
            assert_eq!(u64::from_str_radix(&status(rights), 16), Ok(0));
        }
    }
}

#[tokio::test]
async fn a_stopped_supervisor_outlives_no_stop() {
    if !is_alone("a_stopped_supervisor_outlives_no_stop") {
        return;
    }
    for way in ways(|way| !way.user) {
        // Once, and by one who does it again and again.
        for again in [
            "",
            "(setsid sh -c 'trap \"\" TERM; while :; do kill -STOP '$PPID'; sleep 0.01; done' &);",
        ] {
            let script = format!(
                "{HIDDEN} {again} trap '' TERM; kill -STOP $PPID; say $$ me; while :; do sleep 1000; done"
            );
            let mut attempt = Attempt::start(way, Duration::from_millis(200), &script);
            attempt.says("me").await;
            attempt.context.stop.cancel();
            assert!(attempt.end().await.is_err(), "{way:?}");
        }
    }
}

#[tokio::test]
async fn one_that_multiplies_is_ended_with_all_its_offspring() {
    if !is_alone("one_that_multiplies_is_ended_with_all_its_offspring") {
        return;
    }
    for way in ways(|_| true) {
        // Forty that nobody waits for, and one that has another number every moment: in a session of its own each time where
        // a cgroup holds it, else in one group.
        let session = if way.cell { "setsid();" } else { "" };
        let script = format!(
            "exec perl -MPOSIX -e '$SIG{{TERM}} = \"IGNORE\";
             for my $n (1..40) {{ if (!fork()) {{ setsid(); exit if fork(); open F, \">$n.new\"; print F $$; close F; rename \"$n.new\", \"$n.pid\"; sleep 1000 }} }}
             if (!fork()) {{ setsid(); while (1) {{ exit if fork(); {session} select undef, undef, undef, 0.002 }} }}
             sleep 1000'"
        );
        let mut attempt = Attempt::start(way, Duration::from_millis(200), &script);
        until("all are there", || attempt.folder.numbers().len() == 40).await;
        attempt.context.stop.cancel();
        assert!(attempt.end().await.is_err());
        let text = attempt.context.log.text();
        assert!(!text.contains("still alive"), "{way:?}: {text}");
        // A supervisor stays as long as anything below it lives.
        until("its supervisor has ended", || {
            children_of(std::process::id()).is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn a_cgroup_is_not_left_by_another_user() {
    if !is_alone("a_cgroup_is_not_left_by_another_user") {
        return;
    }
    for way in ways(|way| way.user && way.cell) {
        let cells = Cells::open().unwrap();
        let above = cells.path().parent().unwrap().join("cgroup.procs");
        let script = format!(
            "echo $$ >{} || echo held; grep ^0:: /proc/self/cgroup",
            above.display()
        );
        let mut attempt = Attempt::start(way, DEADLINE, &script);
        assert_eq!(attempt.end().await, Ok(()));
        let text = attempt.context.log.text();
        let own = cells.path().file_name().unwrap().to_str().unwrap();
        assert!(
            text.contains("held") && text.contains(&format!("/{own}/")),
            "{text}"
        );
        assert!(cells.is_tight_for(65_534) && !cells.is_tight_for(0));
    }
}

#[tokio::test]
async fn what_is_to_be_kept_goes_on_after_success_alone() {
    if !is_alone("what_is_to_be_kept_goes_on_after_success_alone") {
        return;
    }
    let keep = |spec| CommandSpec {
        keep_children: true,
        ..spec
    };
    for way in ways(|_| true) {
        let mut attempt = Attempt::of(way, DEADLINE, keep, &format!("{HIDDEN} exit 0"));
        let end = system::within(DEADLINE, &mut attempt.running)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(end, Ok(()), "{way:?}");
        let kept = attempt.folder.number("hidden").unwrap();
        assert!(alive(kept), "{way:?}");
        // Another attempt's end, and a killed supervisor elsewhere, are nothing to it.
        drop(attempt);
        let mut other = Attempt::start(
            way,
            DEADLINE,
            if way.user {
                "exit 0"
            } else {
                "kill -9 $PPID; sleep 1000"
            },
        );
        assert_eq!(other.end().await.is_ok(), way.user);
        assert!(alive(kept), "{way:?}");
        let pid = nix::unistd::Pid::from_raw(kept);
        // It leads a group, in which its own children are.
        nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        until("it is gone", || !alive(kept)).await;

        let mut attempt = Attempt::of(way, DEADLINE, keep, &format!("{HIDDEN} exit 3"));
        assert!(attempt.end().await.is_err(), "{way:?}");
    }
}

#[tokio::test]
async fn what_a_dead_worker_left_in_its_cgroups_is_ended_at_the_next_start() {
    if !is_alone("what_a_dead_worker_left_in_its_cgroups_is_ended_at_the_next_start") {
        return;
    }
    let cells = match Cells::open() {
        Ok(cells) => cells,
        Err(why) => return xtask::skip::skip(&format!("no cgroup for programs: {why}")),
    };
    // Of a worker that had our own number, and began before the machine did.
    let dead = cells
        .path()
        .parent()
        .unwrap()
        .join(format!("campanile-{}-0", std::process::id()));
    let cell = dead.join("attempt");
    std::fs::create_dir(&dead).unwrap();
    std::fs::create_dir(&cell).unwrap();
    let mut left = std::process::Command::new("/bin/sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    std::fs::write(cell.join("cgroup.procs"), left.id().to_string()).unwrap();
    Cells::open().unwrap();
    let status = left.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
    until("its folder is gone", || {
        drop(Cells::open());
        !dead.exists()
    })
    .await;
    cells.close();
    assert!(!cells.path().exists());
}

#[tokio::test]
async fn a_program_starts_clean_whatever_its_worker_inherited() {
    let test = "handlers::command::a_program_starts_clean";
    let script = format!("trap '' HUP INT USR1 CHLD; exec \"$0\" --exact {test}");
    let got = tokio::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&got.stdout);
    assert!(got.status.success() && said.contains("1 passed"), "{said}");
}
