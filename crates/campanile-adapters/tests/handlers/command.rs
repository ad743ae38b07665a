//! The command handler: what a program is given, what is kept of it, and what isn't started at all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use campanile_adapters::handlers::{Allowed, Command, CommandOptions};
use campanile_core::limits;
use campanile_core::port::handler::{Context, Executor as _, Failure, Verdict};
use campanile_core::task::{Class, CommandSpec, HandlerSpec};
use serde_json::{Value, json};

use super::{Folder, context};

pub fn executor(allowed: Option<&[&str]>, grace: Duration) -> Command {
    Command::new(CommandOptions {
        allowed: allowed.map(|list| list.iter().map(|entry| entry.parse().unwrap()).collect()),
        // Those of these tests, exactly.
        allowed_env: ["HOME", "USER", "LOGNAME", "PATH", "LANG"]
            .map(|name| name.parse().unwrap())
            .to_vec(),
        supervisor: PathBuf::from(env!("CARGO_BIN_EXE_campanile-supervise")),
        grace,
        ..CommandOptions::default()
    })
}

pub fn spec(argv: &[&str]) -> CommandSpec {
    CommandSpec {
        argv: argv.iter().map(|&a| a.to_owned()).collect(),
        env: BTreeMap::new(),
        dir: None,
        stdin: None,
        login: false,
        keep_children: false,
    }
}

pub fn shell(script: &str) -> CommandSpec {
    spec(&["/bin/sh", "-c", script])
}

async fn run(spec: CommandSpec, context: &Context) -> Result<(), Failure> {
    executor(Some(&["*"]), Duration::from_secs(30))
        .execute(&HandlerSpec::Command(spec), context.clone())
        .await
        .map(drop)
}

/// What it wrote, when all went well.
async fn output(spec: CommandSpec, payload: Value) -> String {
    let context = context(payload);
    let end = run(spec, &context).await;
    assert_eq!(end, Ok(()), "{}", context.log.text());
    context.log.text()
}

#[tokio::test]
async fn with_login_a_program_starts_as_cron_starts_it() {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::current())
        .unwrap()
        .unwrap();
    let home = user.dir.to_str().unwrap();
    let script = "echo \"$HOME|$USER|$LOGNAME|$SHELL|$PATH|$(pwd)\"; echo ~";
    let mut spec = CommandSpec {
        login: true,
        ..shell(script)
    };
    let name = &user.name;
    assert_eq!(
        output(spec.clone(), Value::Null).await,
        format!("{home}|{name}|{name}|/bin/sh|/usr/bin:/bin|{home}\n{home}\n")
    );
    // A task may move the home, the shell and the path; who the user is, it can't say.
    for (name, value) in [
        ("HOME", "/tmp"),
        ("USER", "root2"),
        ("LOGNAME", "root2"),
        ("PATH", "/bin"),
    ] {
        spec.env.insert(name.to_owned(), value.to_owned());
    }
    assert_eq!(
        output(spec.clone(), Value::Null).await,
        format!("/tmp|{name}|{name}|/bin/sh|/bin|/tmp\n/tmp\n")
    );
    spec.dir = Some("/usr".to_owned());
    assert!(output(spec, Value::Null).await.contains("|/usr\n"));
}

#[tokio::test]
async fn the_environment_is_what_the_task_says_and_nothing_else() {
    let run = context(Value::Null).run;
    let ours = [
        "CAMPANILE_ATTEMPT=2".to_owned(),
        "CAMPANILE_DUE_AT=2025-12-01T08:00:00.000Z".to_owned(),
        "CAMPANILE_KEY=nightly-report:1764576000000".to_owned(),
        format!("CAMPANILE_RUN={run}"),
        "CAMPANILE_TASK=nightly-report".to_owned(),
    ];
    let mut spec = spec(&["/usr/bin/env"]);
    let text = output(spec.clone(), Value::Null).await;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected = ours.to_vec();
    expected.push("PATH=/usr/local/bin:/usr/bin:/bin".to_owned());
    assert_eq!(lines, expected);

    spec.env = BTreeMap::from([
        ("PATH".to_owned(), "/opt/bin".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ]);
    let text = output(spec, Value::Null).await;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected = ours.to_vec();
    expected.extend(["LANG=C.UTF-8".to_owned(), "PATH=/opt/bin".to_owned()]);
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_program_starts_clean() {
    // No signal is held off or ignored (asked of a program that changes neither: a shell does).
    let text = output(spec(&["/bin/cat", "/proc/self/status"]), Value::Null).await;
    let mask = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        // Without 32 and 33, which the C library keeps for itself.
        u64::from_str_radix(line.trim(), 16).unwrap() & !0x1_8000_0000
    };
    assert_eq!((mask("SigBlk:"), mask("SigIgn:")), (0, 0), "{text}");
    // It leads its own group, and is in the root folder.
    let script = "pwd; cut -d' ' -f5 /proc/$$/stat | grep -qx $$ && echo leader";
    assert_eq!(output(shell(script), Value::Null).await, "/\nleader\n");
}

#[tokio::test]
async fn arguments_are_arguments() {
    let text = output(
        spec(&["/usr/bin/printf", "[%s]", "a b", "$HOME;`id`", "", "é"]),
        Value::Null,
    )
    .await;
    assert_eq!(text, "[a b][$HOME;`id`][][é]");
}

#[tokio::test]
async fn input_is_the_tasks_or_the_payload() {
    let cat = spec(&["/bin/cat"]);
    assert_eq!(output(cat.clone(), Value::Null).await, "");
    assert_eq!(
        output(cat.clone(), json!({"a": [1, "x"]})).await,
        r#"{"a":[1,"x"]}"#
    );
    let own = CommandSpec {
        stdin: Some("two\nlines".to_owned()),
        ..cat.clone()
    };
    assert_eq!(output(own, json!({"a": 1})).await, "two\nlines");
    // More than a pipe holds, to a program that answers while it reads, and to one that never reads.
    let long = CommandSpec {
        stdin: Some("0123456789\n".repeat(20_000)),
        ..spec(&["/usr/bin/wc", "-c"])
    };
    assert_eq!(output(long.clone(), Value::Null).await.trim(), "220000");
    let deaf = CommandSpec {
        stdin: long.stdin,
        ..spec(&["/bin/true"])
    };
    assert_eq!(output(deaf, Value::Null).await, "");
}

#[tokio::test]
async fn both_outputs_are_one_log_in_their_order() {
    let script = "echo 1; echo 2 >&2; echo 3; echo 4 >&2; printf 'nul\\000 and \\377'";
    assert_eq!(
        output(shell(script), Value::Null).await,
        "1\n2\n3\n4\nnul and \u{fffd}"
    );
}

#[tokio::test]
async fn huge_output_is_cut_and_blocks_nobody() {
    let text = output(shell("yes x | head -c 50000000; echo end"), Value::Null).await;
    assert!(text.len() <= limits::LOG_BYTES + 64);
    assert!(text.contains(" bytes are left out here]\n"));
    assert!(text.ends_with("x\nend\n"), "the end is kept");
}

#[tokio::test]
async fn ends_are_told_apart() {
    let end = run(shell("echo late; exit 3"), &context(Value::Null)).await;
    assert_eq!(
        end,
        Err(Failure::retry("exit status 3").with_class(Class::Exit(3)))
    );
    let end = run(shell("exit 137"), &context(Value::Null)).await;
    assert_eq!(
        end,
        Err(Failure::retry("exit status 137").with_class(Class::Exit(137)))
    );
    let end = run(shell("kill -9 $$"), &context(Value::Null)).await;
    assert_eq!(
        end,
        Err(Failure::retry("killed by signal 9").with_class(Class::Signal(9)))
    );
    // A real-time signal, which has no name here.
    let end = run(shell("kill -40 $$"), &context(Value::Null)).await;
    assert_eq!(
        end,
        Err(Failure::retry("killed by signal 40").with_class(Class::Signal(40)))
    );
}

#[tokio::test]
async fn what_cant_be_started_says_what_to_do() {
    let folder = Folder::new();
    let script = folder.write("plain", "#!/bin/sh\necho hello\n", 0o644);
    let lost = folder.write("lost", "#!/no/such/interpreter\n", 0o755);
    let text = folder.write("text", "echo by a shell\n", 0o755);
    for (argv0, remedy) in [
        ("/no/such/program", "install it there"),
        (lost.as_str(), "interpreter"),
        (script.as_str(), "chmod +x"),
        (text.as_str(), "#!/bin/sh"),
    ] {
        let end = run(spec(&[argv0]), &context(Value::Null)).await;
        assert!(
            matches!(&end, Err(m) if m.verdict() == Verdict::Fatal && m.message().contains(remedy) && m.message().contains(argv0)),
            "{end:?}"
        );
    }
    let nowhere = CommandSpec {
        dir: Some("/no/such/folder".to_owned()),
        ..spec(&["/bin/true"])
    };
    let end = run(nowhere, &context(Value::Null)).await;
    assert!(
        matches!(&end, Err(m) if m.verdict() == Verdict::Fatal && m.message().contains("handler.command.dir")),
        "{end:?}"
    );
    let relative = run(spec(&["true"]), &context(Value::Null)).await;
    assert!(
        matches!(&relative, Err(m) if m.verdict() == Verdict::Fatal && m.message().contains("absolute")),
        "{relative:?}"
    );
    let elsewhere = CommandSpec {
        dir: Some(folder.file("")),
        ..spec(&["/bin/pwd"])
    };
    assert_eq!(
        output(elsewhere, Value::Null).await.trim(),
        folder.path().to_str().unwrap()
    );
}

#[tokio::test]
async fn without_a_supervisor_nothing_starts() {
    let command = Command::new(CommandOptions {
        allowed: Some(vec![Allowed::any()]),
        supervisor: PathBuf::from("/no/such/supervisor"),
        ..CommandOptions::default()
    });
    let handler = HandlerSpec::Command(spec(&["/bin/true"]));
    let end = command.execute(&handler, context(Value::Null)).await;
    assert!(
        matches!(&end, Err(m) if m.verdict() == Verdict::Retry && m.message().contains("/no/such/supervisor")),
        "{end:?}"
    );
}

async fn allowed(list: Option<&[&str]>, program: &str) -> Result<(), String> {
    let handler = HandlerSpec::Command(spec(&[program]));
    match executor(list, Duration::from_secs(30))
        .execute(&handler, context(Value::Null))
        .await
    {
        Ok(_) => Ok(()),
        Err(refused) if refused.verdict() == Verdict::NotAllowed => {
            Err(refused.message().to_owned())
        }
        Err(other) => panic!("{program}: {other:?}"),
    }
}

#[tokio::test]
async fn only_what_the_worker_allows_is_started() {
    let off = allowed(None, "/usr/bin/df").await.unwrap_err();
    assert!(off.contains("--allow-commands /usr/bin/df"), "{off}");
    let none = allowed(Some(&[]), "/usr/bin/df").await.unwrap_err();
    assert!(none.contains("--allow-commands"), "{none}");
    assert!(
        allowed(Some(&["/usr/bin/df"]), "/usr/bin/true")
            .await
            .is_err()
    );
    assert_eq!(
        allowed(Some(&["/usr/bin/df", "/usr/bin/true"]), "/usr/bin/true").await,
        Ok(())
    );
    assert_eq!(allowed(Some(&["*"]), "/usr/bin/true").await, Ok(()));
}

#[tokio::test]
async fn a_program_is_its_place_whatever_its_spelling() {
    let folder = Folder::new();
    let tool = folder.write("tool", "#!/bin/sh\ntrue\n", 0o755);
    let other = folder.write("other", "#!/bin/sh\ntrue\n", 0o755);
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let list = Some([tool.as_str()]);
    let list = list.as_ref().map(<[&str; 1]>::as_slice);

    assert_eq!(allowed(list, &tool).await, Ok(()));
    assert_eq!(allowed(list, &folder.file("sub/../tool")).await, Ok(()));
    assert_eq!(allowed(list, &folder.file("./tool")).await, Ok(()));
    assert!(allowed(list, &other).await.is_err());
    assert!(allowed(list, &folder.file("tool/../other")).await.is_err());

    // A folder reached by a link is that folder.
    std::os::unix::fs::symlink(folder.path(), folder.path().join("sub/here")).unwrap();
    assert_eq!(allowed(list, &folder.file("sub/here/tool")).await, Ok(()));
    // A link that carries an allowed name elsewhere, or leads to an allowed program, is neither.
    std::os::unix::fs::symlink(&other, folder.path().join("sub/tool")).unwrap();
    assert!(allowed(list, &folder.file("sub/tool")).await.is_err());
    std::os::unix::fs::symlink(&tool, folder.path().join("link")).unwrap();
    assert!(allowed(list, &folder.file("link")).await.is_err());
    // One file of many names: the name that is allowed opens no other.
    let link = folder.file("link");
    assert_eq!(allowed(Some(&[&link]), &link).await, Ok(()));
    assert!(allowed(Some(&[&link]), &tool).await.is_err());
}

/// What the worker says to a command before it would start, and when it is to start.
async fn refused(list: &[&str], spec: CommandSpec) -> Option<String> {
    let executor = executor(Some(list), Duration::from_secs(30));
    let handler = HandlerSpec::Command(spec);
    let before = executor.refusal(&handler).await;
    let end = executor.execute(&handler, context(Value::Null)).await;
    match (&before, end) {
        (None, Ok(_)) => {}
        (Some(before), Err(refused)) if refused.verdict() == Verdict::NotAllowed => {
            assert_eq!(before, refused.message());
        }
        (_, other) => panic!("{before:?}, {other:?}"),
    }
    before
}

#[tokio::test]
async fn arguments_may_be_pinned() {
    let list = ["/usr/bin/printf %s *", "/usr/bin/printf -v"];
    assert_eq!(
        refused(&list, spec(&["/usr/bin/printf", "%s", "x"])).await,
        None
    );
    for (argv, part) in [
        (
            vec!["/usr/bin/printf"],
            "argument 1 is missing, which is to be `%s`",
        ),
        (
            vec!["/usr/bin/printf", "%d", "x"],
            "argument 1 `%d` does not fit `%s`",
        ),
        (
            vec!["/usr/bin/printf", "%s", "a/../b"],
            "argument 2 `a/../b` does not fit `*`",
        ),
        (
            vec!["/usr/bin/printf", "%s", "-x"],
            "argument 2 `-x` does not fit `*`",
        ),
        (
            vec!["/usr/bin/printf", "%s", "x", "y"],
            "argument 3 `y` is one more",
        ),
    ] {
        let said = refused(&list, spec(&argv)).await.unwrap();
        assert!(
            said.contains(part) && said.contains("--allow-commands"),
            "{said}"
        );
        assert!(
            said.contains("does not fit `-v`") || argv.len() == 1,
            "each entry says why: {said}"
        );
    }
}

#[tokio::test]
async fn variables_are_those_that_the_worker_allows() {
    for name in [
        "BASH_ENV",
        "BASH_FUNC_x%%",
        "PERL5OPT",
        "PYTHONWARNINGS",
        "LD_PRELOAD",
        "LD_DEBUG_OUTPUT",
        "MODE",
    ] {
        let mut spec = spec(&["/bin/true"]);
        spec.env.insert(name.to_owned(), "/tmp/x".to_owned());
        let said = refused(&["*"], spec).await.unwrap();
        assert!(
            said.contains(&format!("`{name}`")) && said.contains("--allow-env"),
            "{said}"
        );
    }
    let mut spec = spec(&["/bin/true"]);
    spec.env.insert("LANG".to_owned(), "C".to_owned());
    assert_eq!(refused(&["*"], spec).await, None);
}
