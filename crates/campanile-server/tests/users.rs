//! Local users as an admin keeps them, by the API and by the command line: what is changed holds at once.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::json;

use crate::browser::Browser;
use crate::cli::{campanile, client, err, out};
use crate::logins::{OTHER, PASSWORD, me, service};
use crate::support::{Service, TOKEN, start};

/// A browser in which ada has logged in.
async fn inside(service: &Service, password: &str) -> Browser {
    let mut browser = Browser::at(&service.url);
    let page = browser.log_in("ada", password).await;
    assert_eq!(page.status, 303, "{}", page.text);
    assert_eq!(me(&mut browser).await.status, 200);
    browser
}

/// What a command says that reads a password on standard input.
async fn typed(service: &Service, args: &[&str], password: &str) -> Output {
    let mut command = campanile(&service.folder);
    command
        .args(args)
        .env("CAMPANILE_URL", &service.url)
        .env("CAMPANILE_TOKEN", TOKEN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let password = password.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // A command that refuses what was typed reads nothing.
        let _ = input.write_all(password.as_bytes());
        drop(input);
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn what_an_admin_changes_holds_at_once() {
    let service = service().await;
    let mut held = inside(&service, PASSWORD).await;
    service
        .ask(
            "PUT",
            "/users/ada/rights",
            Some(json!({ "role": "viewer", "scope": ["owner:a"] })),
        )
        .await;
    let who = me(&mut held).await.json();
    assert_eq!(
        who["rights"],
        json!({ "role": "viewer", "data": false, "scope": ["owner:a"] })
    );
    let mut other = inside(&service, PASSWORD).await;
    let sessions = service.get("/sessions").await.body;
    let all = sessions["items"].as_array().unwrap();
    assert_eq!((all.len(), &all[0]["agent"]), (2, &json!("a browser/1.0")));
    let cookie = other.cookie("campanile").unwrap();
    assert!(!sessions.to_string().contains(cookie.as_str()));
    // The newest is listed first.
    let id = all[0]["id"].as_str().unwrap();
    assert_eq!(
        service
            .ask("DELETE", &format!("/sessions/{id}"), None)
            .await
            .status,
        204
    );
    assert_eq!(
        service
            .ask("DELETE", &format!("/sessions/{id}"), None)
            .await
            .status,
        404
    );
    assert_eq!(
        (me(&mut other).await.status, me(&mut held).await.status),
        (401, 200)
    );
    let ended = service
        .ask("DELETE", "/users/ada/sessions", None)
        .await
        .body;
    assert_eq!(ended, json!({ "ended": 1 }));
    assert_eq!(me(&mut held).await.status, 401);
    service.stop().await;
}

#[tokio::test]
async fn who_is_disabled_or_gone_is_out_at_once() {
    let service = service().await;
    let mut held = inside(&service, PASSWORD).await;
    assert_eq!(
        service.post("/users/ada/disable", json!({})).await.status,
        200
    );
    assert_eq!(me(&mut held).await.status, 401);
    let refused = held.log_in("ada", PASSWORD).await;
    assert_eq!(refused.status, 401);
    service.post("/users/ada/enable", json!({})).await;
    let mut held = inside(&service, PASSWORD).await;
    let new = service
        .ask(
            "PUT",
            "/users/ada/password",
            Some(json!({ "password": OTHER })),
        )
        .await;
    assert_eq!(new.status, 200, "{}", new.body);
    assert_eq!(me(&mut held).await.status, 401);
    assert_eq!(held.log_in("ada", PASSWORD).await.status, 401);
    assert_eq!(held.log_in("ada", OTHER).await.status, 303);
    assert_eq!(service.ask("DELETE", "/users/ada", None).await.status, 204);
    assert_eq!(me(&mut held).await.status, 401);
    service.stop().await;
}

#[tokio::test]
async fn users_are_kept_by_the_command_line() {
    let service = start(&[]).await;
    let line = format!("{PASSWORD}\n");
    let made = typed(
        &service,
        &[
            "user", "add", "Ada", "--role", "operator", "--data", "--scope", "owner:a",
        ],
        &line,
    )
    .await;
    assert!(made.status.success(), "{}", err(&made));
    assert!(
        out(&made).contains("operator with data, within owner:a"),
        "{}",
        out(&made)
    );
    let weak = typed(
        &service,
        &["user", "add", "bob", "--role", "viewer"],
        "passwordpassword\n",
    )
    .await;
    assert!(
        err(&weak).contains("too easy to guess") && !err(&weak).contains("passwordpassword"),
        "{}",
        err(&weak)
    );
    let none = typed(&service, &["user", "passwd", "ada"], "").await;
    assert_eq!(none.status.code(), Some(2), "{}", err(&none));
    let argument = typed(
        &service,
        &["user", "add", "bob", "--role", "viewer", "--password", "x"],
        "",
    )
    .await;
    assert_eq!(argument.status.code(), Some(2), "{}", err(&argument));
    let mut browser = Browser::at(&service.url);
    assert_eq!(browser.log_in("ada", PASSWORD).await.status, 303);
    let listed = client(&service, &["session", "list"]).await;
    assert!(out(&listed).contains("user:ada"), "{}", out(&listed));
    let changed = typed(&service, &["user", "passwd", "ada"], &format!("{OTHER}\n")).await;
    assert!(changed.status.success(), "{}", err(&changed));
    assert_eq!(me(&mut browser).await.status, 401);
    service.stop().await;
}

#[tokio::test]
async fn what_is_typed_about_users_is_done() {
    let service = service().await;
    for (args, said) in [
        (&["user", "list"][..], "ada"),
        (&["user", "disable", "ada"], "may not come in"),
        (&["user", "show", "ada"], "disabled"),
        (&["user", "enable", "ada"], "may come in"),
        (
            &["user", "rights", "ada", "--role", "viewer"],
            "viewer, everywhere",
        ),
        (&["session", "end", "--user", "ada"], "0 sessions"),
        (&["user", "remove", "ada"], "is removed"),
        (&["whoami"], "admin with data, everywhere"),
    ] {
        let done = client(&service, args).await;
        assert!(
            done.status.success() && out(&done).contains(said),
            "{args:?}: {} {}",
            out(&done),
            err(&done)
        );
    }
    let unknown = client(&service, &["user", "show", "ada"]).await;
    assert!(
        err(&unknown).contains("campanile user list"),
        "{}",
        err(&unknown)
    );
    service.stop().await;
}
