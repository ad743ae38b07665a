//! Secrets and who may use them: passwords of URLs in every output of the program, tokens on the command line, in files
//! that others may read, guessed, changed while the service runs, and sent to where they don't belong.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use xtask::servers::TempDir;

use crate::support::{TOKEN, start};

const SECRET: &str = "Zk7SECRETx1";

/// URLs as people write them, right and wrong; `{}` is the password, or a part of it. All lead nowhere.
const NASTY: &[(&str, &str)] = &[
    ("store", "postgres://u:{}@127.0.0.1:1/db"),
    ("store", "postgres://u:pa/{}@127.0.0.1:1/db"),
    ("store", "postgres://u:12/{}@127.0.0.1:1/db"),
    ("store", "postgres://u:pa?{}@127.0.0.1:1/db"),
    ("store", "postgres://u:pa#{}@127.0.0.1:1/db"),
    ("store", "postgres://u:pa@{}@127.0.0.1:1/db"),
    ("store", "postgres://u:100%{}@127.0.0.1:1/db"),
    ("store", "postgres://u:{}%zz@127.0.0.1:1/db"),
    ("store", "postgres://u:{}"),
    ("store", "postgres://u:{}@127.0.0.1:port/db"),
    ("store", "postgres://127.0.0.1:1/db?password={}"),
    ("store", "postgres://127.0.0.1:1/db?passwrod={}"),
    ("store", "postgres://127.0.0.1:1/db?{}"),
    (
        "store",
        "postgres://127.0.0.1:1/db?sslmode=disable&password={}",
    ),
    ("store", "postgres:u:{}@h/db"),
    ("store", "POSTGRES://u:{}@h/db"),
    ("store", "mysql://u:{}@h/db"),
    ("store", "mongodb://u:{}@h/db?authSource=x"),
    ("store", "u:{}@h/db"),
    ("store", "host=h password={}"),
    ("store", "jdbc:postgresql://h/db?user=u&password={}"),
    ("lock", "redis://:{}@127.0.0.1:1"),
    ("lock", "redis://{}@127.0.0.1:1"),
    ("lock", "redis://u:1/{}@127.0.0.1:1"),
    ("lock", "redis://:pa?{}@127.0.0.1:1"),
    ("lock", "redis://127.0.0.1:1?password={}"),
    (
        "lock",
        "redis+sentinel://127.0.0.1:1,127.0.0.1:2/s?sentinel_password={}",
    ),
    ("lock", "redis+cluster://u:{}@127.0.0.1:1"),
    ("lock", "zookeeper://u:{}@h"),
    ("broker", "amqp://u:{}@127.0.0.1:1,127.0.0.1:2/v"),
    ("broker", "amqps://u:a@127.0.0.1:1,u:{}@127.0.0.1:2"),
    ("broker", "amqp://127.0.0.1:1?password={}"),
    ("broker", "amqp://u:{}"),
    ("broker", "stomp://u:{}@127.0.0.1:1,127.0.0.1:2"),
    ("broker", "stomp://u:a@127.0.0.1:1,u:{}@127.0.0.1:2"),
    ("broker", "stomp://127.0.0.1:1?passcode={}"),
    ("broker", "stomp://127.0.0.1:1?token={}"),
    ("broker", "stomp://u:{}"),
    ("broker", "kafka://u:{}@h"),
    ("broker", "failover:(tcp://u:{}@127.0.0.1:1)"),
];

fn campanile(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    command.current_dir(folder.path()).env_clear();
    command
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn run(folder: &TempDir, args: &[&str]) -> Output {
    campanile(folder).args(args).output().unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn no_output_of_the_program_holds_a_password() {
    let folder = TempDir::new("nasty").unwrap();
    let all: Vec<String> = std::thread::scope(|scope| {
        let folder = &folder;
        let tries: Vec<_> = NASTY
            .iter()
            .map(|(setting, pattern)| {
                scope.spawn(move || {
                    let url = pattern.replace("{}", SECRET);
                    let variable = format!("CAMPANILE_{}", setting.to_ascii_uppercase());
                    let file = folder.join(&format!("{}.toml", url.len()));
                    std::fs::write(&file, format!("{setting} = {url:?}\n")).unwrap();
                    let mut out = format!("{url}:\n").replace(SECRET, "…");
                    for args in [
                        &["config", "check"][..],
                        &["config", "check", "--output", "json"],
                        &["doctor", "--listen", "127.0.0.1:0"],
                        &["migrate", "--dry-run"],
                    ] {
                        let got = campanile(folder).args(args).env(&variable, &url).output();
                        out.push_str(&said(&got.unwrap()));
                    }
                    let flag = format!("--{setting}");
                    out.push_str(&said(&run(folder, &["config", "check", &flag, &url])));
                    let serve = ["serve", "--config", file.to_str().unwrap(), "--log", "json"];
                    let mut serve = campanile(folder)
                        .args(serve)
                        .env("CAMPANILE_LOG_LEVEL", "trace")
                        .env("CAMPANILE_LISTEN", "10.255.255.1:1")
                        .env("CAMPANILE_INSECURE", "true")
                        .output();
                    out.push_str(&said(serve.as_mut().unwrap()));
                    out
                })
            })
            .collect();
        tries.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for out in all {
        assert!(!out.contains("SECRET"), "{out}");
        assert!(out.len() > 1_000, "{out}");
    }
}

#[test]
fn a_token_on_a_command_line_is_refused_and_not_repeated() {
    let folder = TempDir::new("typed").unwrap();
    for args in [
        &["serve", "--token", SECRET][..],
        &["task", "list", "--token", SECRET],
        &["--token", SECRET, "task", "list"],
        &["task", "list", "--token=Zk7SECRETx1"],
        &["dev", "--token", SECRET],
        &["config", "check", "--token", SECRET],
    ] {
        let got = run(&folder, args);
        let text = said(&got);
        assert_eq!(got.status.code(), Some(2), "{args:?}: {text}");
        assert!(
            text.contains("--token-file") && text.contains("CAMPANILE_TOKEN"),
            "{text}"
        );
        assert!(!text.contains(SECRET), "{text}");
    }
    let help = said(&run(&folder, &["serve", "--help"]));
    assert!(
        !help.contains("--token <") && help.contains("--token-file <FILE>"),
        "{help}"
    );
    let url = format!("postgres://u:{SECRET}@127.0.0.1:1/db");
    let got = said(&run(&folder, &["config", "check", "--store", &url]));
    assert!(
        got.contains("CAMPANILE_STORE") && got.contains("/proc"),
        "{got}"
    );
    assert!(!got.contains(SECRET), "{got}");
}

#[test]
fn what_the_environment_says_of_a_token_is_the_clients_where_the_node_has_its_own() {
    let folder = TempDir::new("clash").unwrap();
    std::fs::write(folder.join("t"), format!("{TOKEN}\n")).unwrap();
    set_mode(&folder.join("t"), 0o600);
    std::fs::write(folder.join("c.toml"), "token_file = \"t\"\n").unwrap();
    for value in ["short", "cmp_Another7Zq2Vx9Lr6YwKd1"] {
        let mut command = campanile(&folder);
        command.args(["config", "check", "--config", "c.toml"]);
        let got = command.env("CAMPANILE_TOKEN", value).output().unwrap();
        let text = said(&got);
        assert_eq!(got.status.code(), Some(0), "{text}");
        assert!(
            text.contains("left to client commands") && !text.contains(value),
            "{text}"
        );
    }
    // Without one of its own, the node takes it.
    let mut command = campanile(&folder);
    command.args(["config", "check", "--output", "json"]);
    let got = command.env("CAMPANILE_TOKEN", TOKEN).output().unwrap();
    let all: Vec<Value> = serde_json::from_slice(&got.stdout).unwrap();
    let token = all.iter().find(|s| s["setting"] == "token").unwrap();
    assert_eq!(token["source"], "CAMPANILE_TOKEN");
    let weak = campanile(&folder)
        .args(["config", "check"])
        .env("CAMPANILE_TOKEN", "changeme-changeme")
        .output()
        .unwrap();
    assert_eq!(weak.status.code(), Some(2));
    assert!(said(&weak).contains("too easy to guess"));
}

#[test]
fn files_that_others_may_read_or_write_are_refused_mended_or_named() {
    let folder = TempDir::new("files").unwrap();
    let node = ["--store", "sqlite:c.db", "--listen", "127.0.0.1:0"];
    let with = |verb: &'static str| [&[verb][..], &node[..]].concat();
    assert_eq!(run(&folder, &with("migrate")).status.code(), Some(0));
    // Somebody put a token there before the first start.
    let planted = folder.join("c.db.token");
    std::fs::write(&planted, format!("{TOKEN}\n")).unwrap();
    for bits in [0o666, 0o644] {
        set_mode(&planted, bits);
        for verb in ["serve", "doctor"] {
            let got = run(&folder, &with(verb));
            let text = said(&got);
            assert!(
                !got.status.success() && text.contains("chmod 600"),
                "{verb} {bits:o}: {text}"
            );
            assert!(!text.contains(TOKEN), "{text}");
        }
    }
    set_mode(&planted, 0o600);
    let file = folder.join("t");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    set_mode(&file, 0o644);
    let named = [&with("doctor")[..], &["--token-file", "t"]].concat();
    let text = said(&run(&folder, &named));
    assert!(
        text.contains("setting `token_file`") && text.contains("chmod 600"),
        "{text}"
    );
    let database = folder.join("c.db");
    set_mode(&database, 0o666);
    for verb in ["serve", "doctor"] {
        let got = run(&folder, &with(verb));
        assert!(
            !got.status.success() && said(&got).contains("chmod 600"),
            "{}",
            said(&got)
        );
    }
    set_mode(&database, 0o644);
    let text = said(&run(&folder, &with("doctor")));
    assert!(
        text.contains("warning  files") && text.contains("may read c.db"),
        "{text}"
    );
    assert_eq!(mode(&database), 0o644);
    // A start mends what is its own, whatever becomes of the start.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = ["serve", "--store", "sqlite:c.db", "--listen", &address];
    let text = said(&run(&folder, &serve));
    assert!(
        text.contains("it is 0600 now") && text.contains("can't listen on"),
        "{text}"
    );
    assert_eq!(mode(&database), 0o600);
    // Settings with a secret in them.
    std::fs::write(folder.join("c.toml"), format!("token = \"{TOKEN}\"\n")).unwrap();
    set_mode(&folder.join("c.toml"), 0o644);
    let text = said(&run(&folder, &["config", "check", "--config", "c.toml"]));
    assert!(text.contains("c.toml holds a secret (`token`)"), "{text}");
    set_mode(&folder.join("c.toml"), 0o600);
    let text = said(&run(&folder, &["config", "check", "--config", "c.toml"]));
    assert!(!text.contains("holds a secret"), "{text}");
}

#[test]
fn a_token_that_nobody_has_seen_is_shown() {
    let folder = TempDir::new("unseen").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let store = ["--store", "sqlite:c.db"];
    let none = run(&folder, &[&["token", "show"][..], &store].concat());
    assert!(
        said(&none).contains("there is no token yet"),
        "{}",
        said(&none)
    );
    let serve = [&["serve", "--listen", &address][..], &store].concat();
    assert_eq!(run(&folder, &serve).status.code(), Some(1));
    let kept = std::fs::read_to_string(folder.join("c.db.token")).unwrap();
    assert!(kept.starts_with("# not shown yet\ncmp_"), "{kept}");
    drop(taken);
    let mut child = campanile(&folder)
        .args(&serve)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let token = kept.lines().nth(1).unwrap();
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains(token) {
        let n = errors.read(&mut bytes).unwrap();
        assert!(n > 0, "it ended without showing the token: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let shown = run(&folder, &[&["token", "show"][..], &store].concat());
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), token);
    let kept = std::fs::read_to_string(folder.join("c.db.token")).unwrap();
    assert_eq!(kept.trim(), token);
    let new = run(&folder, &[&["token", "new"][..], &store].concat());
    let new = String::from_utf8_lossy(&new.stdout).trim().to_owned();
    let kept = std::fs::read_to_string(folder.join("c.db.token")).unwrap();
    let lines: Vec<&str> = kept.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(lines, [new.as_str(), token]);
    assert_eq!(mode(&folder.join("c.db.token")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_are_taken_at_once_and_others_after_a_reload() {
    let folder = TempDir::new("rotation").unwrap();
    let file = folder.join("t");
    let (old, new) = ("cmp_Old7Zq2Vx9Lr6YwKd1McQ", "cmp_New3Hs8Jp5Wt4BgRf0ZyU");
    let put = |text: String| {
        std::fs::write(&file, text).unwrap();
        set_mode(&file, 0o600);
    };
    put(format!("{old}\n"));
    let s = start(&[("token", ""), ("token_file", file.to_str().unwrap())]).await;
    let ask = |token: &'static str| {
        let request = s.raw("GET", "/api/v1/tasks").bearer_auth(token);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!((ask(old).await, ask(new).await), (200, 401));
    put(format!("# the new one first\n{new}\n{old}\n"));
    s.app.tokens.reload().unwrap();
    assert_eq!((ask(old).await, ask(new).await), (200, 200));
    put("changeme-changeme\n".to_owned());
    s.app.tokens.reload().unwrap_err();
    assert_eq!((ask(old).await, ask(new).await), (200, 200));
    put(format!("{new}\n"));
    s.app.tokens.reload().unwrap();
    assert_eq!((ask(old).await, ask(new).await), (401, 200));
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_limited_by_client_counted_and_lock_nobody_else_out() {
    let s = start(&[("trusted_proxies", "127.0.0.1")]).await;
    let ask = |client: &str, token: String| {
        let request = s.raw("GET", "/api/v1/tasks").bearer_auth(token);
        let request = request.header("x-forwarded-for", format!("6.6.6.6, {client}"));
        async move { request.send().await.unwrap() }
    };
    let mut statuses = std::collections::BTreeMap::new();
    let mut retry = None;
    for n in 0..100 {
        let got = ask("10.0.0.1", format!("cmp_guess-{n}")).await;
        *statuses.entry(got.status().as_u16()).or_insert(0) += 1;
        retry = got.headers().get("retry-after").cloned().or(retry);
    }
    // A refill may have come while the hundred were asked.
    assert!(
        (10..=12).contains(&statuses[&401]) && statuses[&429] >= 88,
        "{statuses:?}"
    );
    let retry: u64 = retry.unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=6).contains(&retry), "{retry}");
    let status = |client: &'static str| {
        let request = ask(client, TOKEN.to_owned());
        async move { request.await.status().as_u16() }
    };
    assert_eq!(
        (status("10.0.0.1").await, status("10.0.0.2").await),
        (429, 200)
    );
    // Whoever is on this machine keeps the way in.
    for n in 0..100 {
        let guess = s
            .raw("GET", "/api/v1/tasks")
            .bearer_auth(format!("cmp_local-{n}"));
        assert_ne!(guess.send().await.unwrap().status(), 200);
    }
    assert_eq!(s.get("/tasks").await.status, 200);
    let text = s.metrics().await;
    let count = |reason: &str| -> u64 {
        let name = format!("campanile_failed_logins_total{{reason=\"{reason}\"}} ");
        let line = text.lines().find_map(|l| l.strip_prefix(name.as_str()));
        line.unwrap().parse().unwrap()
    };
    assert!(count("wrong") >= 20 && count("limited") >= 170, "{text}");
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_nobody_in_particular_does_not_say_who_the_client_is() {
    let s = start(&[("trusted_proxies", "10.0.0.0/8")]).await;
    for n in 0..30 {
        let guess = s
            .raw("GET", "/api/v1/tasks")
            .bearer_auth(format!("cmp_guess-{n}"));
        let got = guess
            .header("x-forwarded-for", format!("9.9.9.{n}"))
            .send()
            .await
            .unwrap();
        if n > 12 {
            assert_eq!(got.status(), 429, "{n}");
        }
    }
    s.stop().await;
}

/// Answers each request with a redirect, and keeps what it was asked.
fn redirecting(to: String) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::thread::scope(|_| {
        std::thread::Builder::new()
            .spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut bytes = [0; 4096];
                while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                    let n = stream.read(&mut bytes).unwrap();
                    request.extend_from_slice(&bytes[..n]);
                }
                let answer = format!(
                    "HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&request).into_owned()
            })
            .unwrap()
    });
    (port, asked)
}

#[test]
fn a_client_takes_no_token_to_another_place() {
    let folder = TempDir::new("elsewhere").unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let to = format!("http://{}/api/v1/tasks", elsewhere.local_addr().unwrap());
    let (port, asked) = redirecting(to.clone());
    let url = format!("http://localhost:{port}");
    let got = campanile(&folder)
        .args(["task", "list", "--url", &url])
        .env("CAMPANILE_TOKEN", TOKEN)
        .output()
        .unwrap();
    let text = said(&got);
    assert_eq!(got.status.code(), Some(1), "{text}");
    assert!(text.contains("307") && text.contains(&to), "{text}");
    assert!(asked.join().unwrap().contains(TOKEN));
    assert!(elsewhere.accept().is_err());
    // A token that was found here is not offered to another machine, nor any in the clear.
    std::fs::write(folder.join("campanile.db.token"), format!("{TOKEN}\n")).unwrap();
    set_mode(&folder.join("campanile.db.token"), 0o600);
    for (url, part) in [
        ("http://localhost@elsewhere.invalid", "holds a user"),
        ("http://127.0.0.1.invalid:7070", "--insecure"),
        ("https://127.0.0.1.invalid:7070", "no token"),
        ("https://[::ffff:10.0.0.1]", "no token"),
    ] {
        let text = said(&run(&folder, &["task", "list", "--url", url]));
        assert!(text.contains(part), "{url}: {text}");
    }
    let text = said(
        &campanile(&folder)
            .args([
                "task",
                "list",
                "--insecure",
                "--url",
                "http://127.0.0.1.invalid:7070",
            ])
            .env("CAMPANILE_TOKEN", TOKEN)
            .output()
            .unwrap(),
    );
    assert!(text.contains("does not answer"), "{text}");
}
