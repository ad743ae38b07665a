//! `user …`, `session …` and `whoami`: requests to the API from what was typed, and its answers as tables. A password is
//! asked for at the terminal, or read from standard input; never from the command line, which everybody can read.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use campanile_login::password::PASSWORD_BYTES_MAX;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::Failure;
use super::args::{RightsTyped, Session, User};
use super::client::{Client, escape};
use super::out::{Out, short};
use crate::api::model::Page;
use crate::api::users::{Ended, Held, Me, SessionView, UserView};

/// `user …`
pub async fn user(client: &Client, verb: User, out: Out) -> Result<(), Failure> {
    match verb {
        User::List { page } => {
            let cursor = page
                .cursor
                .map_or(String::new(), |c| format!("&cursor={}", escape(&c)));
            let users: Page<UserView> = client
                .get(&format!("/users?limit={}{cursor}", page.limit))
                .await?;
            out.show(&users, |out, users| {
                let head = ["user", "rights", "state", "password set"];
                out.table(
                    &head,
                    users.items.iter().map(|user| row(user, out)).collect(),
                );
            });
            if let Some(cursor) = &users.next_cursor {
                out.remark(format!("there are more: --cursor {cursor}"));
            }
        }
        User::Show { name } => shown(&client.get(&path(&name)).await?, out),
        User::Add { name, rights } => {
            let rights = held(&rights)?;
            let body = json!({ "name": name, "password": password(out)?, "rights": rights });
            shown(&client.post("/users", &body).await?, out);
        }
        User::Passwd { name } => {
            let body = json!({ "password": password(out)? });
            client
                .put(&format!("{}/password", path(&name)), &body)
                .await?;
            said(
                out,
                &name,
                "has a new password, and is logged out everywhere",
            );
        }
        User::Rights { name, rights } => {
            client
                .put(&format!("{}/rights", path(&name)), &held(&rights)?)
                .await?;
            shown(&client.get(&path(&name)).await?, out);
        }
        User::Disable { name } => {
            let _: Value = client
                .post(&format!("{}/disable", path(&name)), &json!({}))
                .await?;
            said(
                out,
                &name,
                "may not come in any more, and is logged out everywhere",
            );
        }
        User::Enable { name } => {
            let _: Value = client
                .post(&format!("{}/enable", path(&name)), &json!({}))
                .await?;
            said(out, &name, "may come in again");
        }
        User::Remove { name } => {
            client.delete(&path(&name)).await?;
            said(out, &name, "is removed, and logged out everywhere");
        }
    }
    Ok(())
}

/// `session …`
pub async fn session(client: &Client, verb: Session, out: Out) -> Result<(), Failure> {
    match verb {
        Session::List => {
            let sessions: Page<SessionView> = client.get("/sessions").await?;
            out.show(&sessions, |out, sessions| {
                let rows = sessions.items.iter().map(|s| {
                    let at = [s.created_at, s.seen_at, s.over_at].map(|at| out.at(at, None));
                    let who = format!("{}:{}", s.kind, s.name);
                    [
                        vec![s.id.clone(), who, s.address.clone()],
                        at.to_vec(),
                        vec![short(&s.agent, 40)],
                    ]
                    .concat()
                });
                out.table(
                    &[
                        "session",
                        "who",
                        "from",
                        "since",
                        "last used",
                        "over at",
                        "browser",
                    ],
                    rows.collect(),
                );
            });
        }
        Session::End { id: Some(id), .. } => {
            client.delete(&format!("/sessions/{}", escape(&id))).await?;
            out.show(&json!({ "session": id, "ended": 1 }), |out, _| {
                out.line(format!("session {id} is ended"));
            });
        }
        Session::End { user, .. } => {
            let name = user.unwrap_or_default();
            let ended: Ended = client
                .delete_telling(&format!("{}/sessions", path(&name)))
                .await?;
            out.show(&json!({ "user": name, "ended": ended.ended }), |out, _| {
                out.line(format!("{} sessions of {name} are ended", ended.ended));
            });
        }
    }
    Ok(())
}

/// `whoami`
pub async fn whoami(client: &Client, out: Out) -> Result<(), Failure> {
    let me: Me = client.get("/me").await?;
    out.show(&me, |out, me| {
        out.line(format!("{} (by {}), from {}", me.name, me.kind, me.from));
        out.line(rights(&me.rights));
    });
    Ok(())
}

fn path(name: &str) -> String {
    format!("/users/{}", escape(name))
}

fn rights(held: &Held) -> String {
    campanile_access::Rights::from(held.clone()).to_string()
}

fn row(user: &UserView, out: Out) -> Vec<String> {
    let state = if user.disabled { "disabled" } else { "" };
    vec![
        user.name.clone(),
        rights(&user.rights),
        state.to_owned(),
        out.at(user.password_at, None),
    ]
}

fn shown(user: &UserView, out: Out) {
    out.show(user, |out, user| {
        out.table(
            &["user", "rights", "state", "password set"],
            vec![row(user, out)],
        );
    });
}

fn said(out: Out, name: &str, what: &str) {
    out.show(&json!({ "user": name, "done": true }), |out, _| {
        out.line(format!("{name} {what}"));
    });
}

fn held(typed: &RightsTyped) -> Result<Held, Failure> {
    let role = typed
        .role
        .parse()
        .map_err(|e| Failure::Usage(format!("--role: {e}")))?;
    let scope = campanile_access::Scope::of(&typed.scope)
        .map_err(|e| Failure::Usage(format!("--scope: {}", e.message)))?;
    Ok(Held {
        role,
        data: typed.data,
        scope,
    })
}

/// A new password: typed twice at a terminal without being shown, or the first line of standard input.
fn password(out: Out) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return read_line();
    }
    let hidden = tcgetattr(&stdin)
        .map_err(|e| Failure::Failed(format!("failed to ask the terminal: {e}")))?;
    let mut silent = hidden.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    let set = |to| {
        tcsetattr(&stdin, SetArg::TCSAFLUSH, to)
            .map_err(|e| Failure::Failed(format!("failed to set the terminal: {e}")))
    };
    set(&silent)?;
    out.remark("New password (it is not shown):");
    let first = read_line();
    out.remark("Once more:");
    let second = read_line();
    set(&hidden)?;
    let (first, second) = (first?, second?);
    if first != second {
        return Err(Failure::Usage(
            "the two passwords differ: nothing was changed".to_owned(),
        ));
    }
    Ok(first)
}

fn read_line() -> Result<String, Failure> {
    let most = u64::try_from(PASSWORD_BYTES_MAX).unwrap_or(u64::MAX) + 2;
    let mut line = String::new();
    let read = std::io::stdin().lock().take(most).read_line(&mut line);
    read.map_err(|e| Failure::Failed(format!("failed to read the password: {e}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::Usage(
            "no password came on standard input".to_owned(),
        ));
    }
    Ok(password.to_owned())
}
