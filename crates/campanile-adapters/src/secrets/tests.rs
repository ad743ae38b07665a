//! Who gets a secret and who does not, and where a value may lie.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use campanile_core::task::HandlerSpec;
use serde_json::{Value, json};
use xtask::servers::TempDir;

use super::*;

const VALUE: &str = "correct horse battery";

fn rule(change: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = Rule {
        name: "KEY".to_owned(),
        tasks: vec!["bill-*".to_owned()],
        owners: vec!["finance".to_owned()],
        hosts: vec![
            "api.example.com".to_owned(),
            "http://10.0.0.7:8080".to_owned(),
            "*.pay.example".to_owned(),
        ],
        programs: vec!["/usr/bin/psql".to_owned()],
    };
    change(&mut rule);
    rule
}

fn handler(value: Value) -> HandlerSpec {
    serde_json::from_value(value).unwrap()
}

fn http(url: &str) -> HandlerSpec {
    handler(json!({ "http": { "url": url } }))
}

async fn ask(
    vault: &Vault,
    task: &str,
    owner: Option<&str>,
    handler: &HandlerSpec,
) -> Result<String, String> {
    let names = BTreeSet::from(["KEY".to_owned()]);
    let wanted = Wanted {
        task,
        owner,
        handler,
        names: &names,
    };
    let values = vault.values(wanted).await?;
    assert!(
        !format!("{values:?}{vault:?}").contains("horse"),
        "nothing shows a value"
    );
    Ok(values.get("KEY").unwrap_or_default().to_owned())
}

fn given(rules: Vec<Rule>) -> Vault {
    Vault::new(Options {
        given: BTreeMap::from([("KEY".to_owned(), VALUE.to_owned())]),
        rules,
        ..Options::default()
    })
}

fn psql(program: &str) -> HandlerSpec {
    handler(json!({ "command": { "argv": [program, "${secret:KEY}"] } }))
}

/// Who asks, for what.
type Use = (
    &'static str,
    Option<&'static str>,
    HandlerSpec,
    &'static str,
);

/// Uses that fit no rule in all, and what is said of them; the one without words is fine, for its host is the first.
fn refused(fine: &HandlerSpec) -> Vec<Use> {
    const FINANCE: Option<&str> = Some("finance");
    let external = handler(json!({ "external": { "destination": "q", "reply": "none" } }));
    let mut all = vec![
        ("steal", FINANCE, fine.clone(), "is not for task `steal`"),
        (
            "bill-1",
            Some("sales"),
            fine.clone(),
            "is not for tasks of owner `sales`",
        ),
        (
            "bill-1",
            None,
            fine.clone(),
            "is not for tasks without an owner",
        ),
        (
            "bill-1",
            FINANCE,
            psql("/usr/bin/curl"),
            "may not go to /usr/bin/curl",
        ),
        ("bill-1", FINANCE, external, "is given no secrets"),
    ];
    let addresses = [
        (
            "https://evil.example/",
            "may not go to https://evil.example:443",
        ),
        (
            "https://api.example.com:8443/",
            "may not go to https://api.example.com:8443",
        ),
        (
            "http://api.example.com/",
            "may not go to http://api.example.com:80",
        ),
        ("https://api.example.com.evil.example/", "may not go to"),
        ("https://api.example.com\\@evil.example/", ""),
        (
            "https://evil.example\\@api.example.com/",
            "may not go to https://evil.example",
        ),
        ("https://pay.example/", "may not go to"),
        ("https://evilpay.example/", "may not go to"),
        ("https://other.example/", "may not go to"),
    ];
    all.extend(addresses.map(|(url, part)| ("bill-1", FINANCE, http(url), part)));
    all
}

#[tokio::test]
async fn task_owner_and_target_must_fit_one_rule() {
    let vault = given(vec![
        rule(|_| {}),
        rule(|r| {
            r.tasks = vec!["other".to_owned()];
            r.hosts = vec!["other.example".to_owned()];
        }),
    ]);
    let fine = http("https://api.example.com/x?k=${secret:KEY}");
    for handler in [
        &fine,
        &http("https://API.Example.com:443/"),
        &http("http://10.0.0.7:8080/"),
        &http("https://a.b.pay.example/"),
        &psql("/usr/bin/psql"),
        &handler(json!({ "native": "n" })),
    ] {
        assert_eq!(
            ask(&vault, "bill-1", Some("finance"), handler)
                .await
                .as_deref(),
            Ok(VALUE),
            "{handler:?}"
        );
    }
    for (task, owner, handler, part) in refused(&fine) {
        match ask(&vault, task, owner, &handler).await {
            Err(why) => assert!(
                !part.is_empty() && why.contains(part) && !why.contains("horse"),
                "{why}"
            ),
            Ok(_) => assert_eq!(part, "", "{task} {owner:?} {handler:?}"),
        }
    }
    let nobody = given(Vec::new());
    let why = ask(&nobody, "bill-1", Some("finance"), &fine)
        .await
        .unwrap_err();
    assert!(why.contains("nobody's on this worker"), "{why}");
    let all = given(vec![rule(|r| r.owners = vec!["*".to_owned()])]);
    assert!(ask(&all, "bill-1", None, &fine).await.is_ok());
}

#[test]
fn rules_say_what_is_wrong_with_them() {
    for host in [
        "",
        "*",
        "https://*",
        "a.*.b",
        "h/x",
        "u@h",
        "ftp://h",
        "h:0x",
        "https://",
    ] {
        let (field, why) = rule(|r| r.hosts = vec![host.to_owned()])
            .check()
            .unwrap_err();
        assert_eq!(field, "hosts");
        assert!(why.contains("write a host as in"), "{host}: {why}");
    }
    let (field, _) = rule(|r| r.programs = vec!["psql".to_owned()])
        .check()
        .unwrap_err();
    assert_eq!(field, "programs");
    assert_eq!(rule(|_| {}).check(), Ok(()));
    assert_eq!(rule(|r| r.owners.clear()).missing(), Some("owners"));
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn nothing_else_is_read(options: &Options) {
    for (name, part) in [
        ("LINK", "leads out of the folder"),
        ("ABSOLUTE", "leads out of the folder"),
        ("../outside", "is not the name of a secret"),
        ("data/KEY", "is not the name of a secret"),
        ("..", "is not the name of a secret"),
        ("data", "is not a file"),
        ("NOWHERE", "is not on this worker: put it into"),
    ] {
        let why = options.find(name).unwrap_err();
        assert!(why.contains(part), "{name}: {why}");
    }
}

#[test]
fn a_value_is_a_file_of_the_folder_and_nothing_beside_it() {
    let temp = TempDir::new("secrets").unwrap();
    let folder = temp.path().join("in");
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let mode =
        |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o700);
    write(&temp.path().join("outside"), b"outside the folder\n", 0o600);
    write(
        &folder.join("data/KEY"),
        format!("{VALUE}\r\n").as_bytes(),
        0o440,
    );
    let options = Options {
        folder: Some(folder.clone()),
        ..Options::default()
    };
    let value = |name: &str| options.find(name).map(|(value, _)| value);

    symlink("data/KEY", folder.join("KEY")).unwrap();
    assert_eq!(
        value("KEY").as_deref(),
        Ok(VALUE),
        "a link within the folder, as they are mounted"
    );
    symlink("../outside", folder.join("LINK")).unwrap();
    symlink(temp.path().join("outside"), folder.join("ABSOLUTE")).unwrap();
    for (name, bytes, mode, part) in [
        ("OPEN", &b"12345678"[..], 0o644, "others may read or change"),
        ("WRITABLE", b"12345678", 0o620, "others may read or change"),
        ("SHORT", b"1234567\n", 0o600, "less than 8 bytes"),
        ("BINARY", b"12345678\xff", 0o600, "not UTF-8"),
        ("NUL", b"1234\x005678", 0o600, "NUL"),
        (
            "LONG",
            &[b'x'; limits::SECRET_BYTES_MAX + 1],
            0o600,
            "more than 16384 bytes",
        ),
        ("HUGE", &[b'x'; 100_000], 0o600, "more than 16384 bytes"),
    ] {
        write(&folder.join(name), bytes, mode);
        let why = value(name).unwrap_err();
        assert!(why.contains(part) && why.contains(name), "{name}: {why}");
        assert!(!why.contains("1234"), "{why}");
    }
    write(
        &folder.join("FULL"),
        &[b'x'; limits::SECRET_BYTES_MAX],
        0o600,
    );
    assert_eq!(value("FULL").unwrap().len(), limits::SECRET_BYTES_MAX);
    nothing_else_is_read(&options);
    mode(0o770);
    assert!(
        value("KEY")
            .unwrap_err()
            .contains("others may put files into the folder")
    );
    mode(0o1777);
    assert!(value("KEY").is_ok());
    let idle = options.idle();
    assert!(
        idle.contains(&"KEY".to_owned()) && idle.contains(&"OPEN".to_owned()),
        "{idle:?}"
    );
}

#[test]
fn what_was_given_out_is_found_in_other_texts() {
    let seen = Seen::default();
    assert_eq!(seen.forms().clean(VALUE), VALUE);
    seen.note([VALUE].into_iter());
    let other = seen.clone();
    assert_eq!(
        other.forms().clean(&format!("panicked at {VALUE:?}")),
        "panicked at \"***\""
    );
    let many = (0..limits::SECRET_RULES_MAX).map(|n| format!("value number {n}"));
    let many: Vec<String> = many.collect();
    seen.note(many.iter().map(String::as_str));
    assert_eq!(
        seen.forms().clean(VALUE),
        VALUE,
        "of very many the last ones are kept"
    );
}
