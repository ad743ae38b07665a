//! What people ask while processes die: requests, a cancelled run that waits and one that runs, an edit, a user, a pause and its
//! end, a leader's resignation. Each act is asked again until it is answered, as people do; whoever asks with a key gets
//! one run for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::load::list;
use crate::load::{Asked, Task};
use crate::{Outcome, wall_ms};

/// How people ask: a method, a path and a body, answered with a status and a value; nothing when nobody answers.
pub type Ask<'a> = dyn Fn(&str, &str, Option<&Value>) -> Option<(u16, Value)> + 'a;

/// One thing that somebody wants.
#[derive(Debug, Clone)]
enum Act {
    /// A request for a task, with a key.
    Submit(&'static str, &'static str),
    /// The end of the run that a key stands for, once it is in this state; later is as well.
    Cancel(&'static str, &'static str),
    /// A request for a task, with a key, for a year that nobody waits for.
    SubmitLate(&'static str, &'static str),
    /// The run that a task's key stands for starts now instead.
    Move(&'static str, &'static str),
    /// The end of a task, for which a run waits.
    Delete(&'static str),
    Edit,
    /// A schedule's rest, or its end.
    Rest(&'static str, &'static str),
    /// The cluster is held for a moment; its leader ends that.
    Hold,
    /// That it is ended.
    Held,
    /// A token, made or there already.
    Token,
    /// The end of what the store refuses to record, once it is set aside.
    Drop,
    /// A user of this name.
    Welcome(&'static str),
    Resign,
}

/// The acts of a scene, and what came of them.
#[derive(Default)]
pub struct People {
    edited: Vec<Task>,
    acts: Vec<Act>,
    at: usize,
    /// Whether they have seen what is set aside: once it is gone, it was dropped.
    aside: bool,
    /// When each act was first asked for and at last answered, by its name.
    pub asked: BTreeMap<String, Asked>,
    /// The runs that the keys stand for.
    pub runs: BTreeMap<&'static str, String>,
}

impl People {
    /// People who want all of it, in this order.
    pub fn new(edited: Vec<Task>) -> Self {
        Self {
            edited,
            acts: vec![
                Act::Submit("strange", "strange-1"),
                Act::Submit("asked", "asked-1"),
                Act::SubmitLate("asked", "asked-late"),
                Act::Submit("line", "line-1"),
                Act::Submit("line", "line-2"),
                Act::Submit("waits", "waits-1"),
                Act::Cancel("waits-1", "scheduled"),
                Act::Move("asked", "asked-late"),
                Act::Submit("gone", "gone-1"),
                Act::Delete("gone"),
                Act::Submit("long", "long-1"),
                Act::Edit,
                Act::Rest("tick", "pause"),
                Act::Cancel("long-1", "running"),
                Act::Rest("tick", "resume"),
                Act::Hold,
                Act::Held,
                Act::Cancel("strange-1", "scheduled"),
                Act::Token,
                Act::Drop,
                Act::Welcome("ada"),
                Act::Resign,
            ],
            at: 0,
            aside: false,
            asked: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    /// Whether all of it was answered.
    pub fn is_content(&self) -> bool {
        self.at >= self.acts.len()
    }

    /// Takes the next act one step on; what was not answered is asked again the next time.
    pub fn step(&mut self, ask: &Ask<'_>) {
        let Some(act) = self.acts.get(self.at).cloned() else {
            return;
        };
        let name = format!("{act:?}");
        let asked_ms = wall_ms();
        let asked = self.asked.entry(name).or_insert(Asked {
            asked_ms,
            answered_ms: i64::MAX,
        });
        let asked_ms = asked.asked_ms;
        if !self.try_act(&act, ask) {
            return;
        }
        let asked = Asked {
            asked_ms,
            answered_ms: wall_ms(),
        };
        self.asked.insert(format!("{act:?}"), asked);
        self.at += 1;
    }

    /// They want another leader once more: a term that ended by itself meanwhile was not ended by them.
    pub fn resign_again(&mut self) {
        self.at = self.acts.len() - 1;
    }

    /// What they ask for now, for whoever looks for the reason of a failure.
    pub fn wish(&self) -> String {
        let run = |key: &str| self.runs.get(key).cloned().unwrap_or_default();
        match self.acts.get(self.at) {
            None => "nothing".to_owned(),
            Some(Act::Cancel(key, state)) => format!("the end of {} once {state}", run(key)),
            Some(act) => format!("{act:?}"),
        }
    }

    /// The tasks that the edit brought.
    pub fn new_tasks(&self) -> impl Iterator<Item = Task> {
        self.edited.iter().filter(|t| t.name == "extra").cloned()
    }

    /// When the edit was made.
    pub fn edited(&self) -> Asked {
        self.asked[&format!("{:?}", Act::Edit)]
    }

    fn try_act(&mut self, act: &Act, ask: &Ask<'_>) -> bool {
        match act {
            Act::Move(task, key) => {
                let body = json!({ "task": task, "key": key, "run_at": "2026-01-01T00:00:00Z" });
                let answer = ask("POST", "/runs/by-key/move", Some(&body));
                // A conflict is the answer to whoever asks again for what is done.
                matches!(answer, Some((200 | 409, _)))
            }
            Act::Submit(task, key) | Act::SubmitLate(task, key) => {
                let mut body = json!({ "task": task, "idempotency_key": key });
                if matches!(act, Act::SubmitLate(..)) {
                    body["run_at"] = json!("2099-01-01T00:00:00Z");
                }
                let answer = ask("POST", "/runs", Some(&body));
                let Some((200 | 201, answer)) = answer else {
                    return false;
                };
                let id = answer["id"].as_str().unwrap_or_default().to_owned();
                self.runs.insert(key, id);
                true
            }
            Act::Cancel(key, state) => self.cancel(key, state, ask),
            Act::Delete(task) => delete(task, ask),
            Act::Edit => {
                let body = list(&self.edited);
                is_done(ask("POST", "/apply", Some(&body)).as_ref())
            }
            Act::Rest(task, verb) => {
                let path = format!("/tasks/{task}/{verb}");
                is_done(ask("POST", &path, None).as_ref())
            }
            Act::Hold => {
                let until = campanile_schedule::time::Timestamp::from_ms(wall_ms() + 1_500);
                let body = json!({ "why": "a look", "until": until });
                is_done(ask("PUT", "/hold", Some(&body)).as_ref())
            }
            Act::Held => {
                let answer = ask("GET", "/hold", None);
                matches!(answer, Some((200, answer)) if answer["hold"].is_null())
            }
            Act::Token => {
                let body = json!({ "name": "scene", "role": "viewer" });
                matches!(ask("POST", "/tokens", Some(&body)), Some((201 | 409, _)))
            }
            Act::Drop => self.drop_aside(ask),
            Act::Welcome(name) => {
                let rights = json!({ "role": "viewer" });
                let body = json!({ "name": name, "password": "oblong vulture staple ferry", "rights": rights });
                // A conflict is the answer to whoever asks again for what is done.
                matches!(ask("POST", "/users", Some(&body)), Some((201 | 409, _)))
            }
            Act::Resign => is_done(ask("POST", "/leader/resign", None).as_ref()),
        }
    }

    /// One thing is set aside, and once.
    fn drop_aside(&mut self, ask: &Ask<'_>) -> bool {
        let Some((200, page)) = ask("GET", "/quarantine", None) else {
            return false;
        };
        match page["items"].as_array().map(Vec::as_slice) {
            Some([]) => self.aside,
            Some([entry]) => {
                self.aside = true;
                let path = format!("/quarantine/{}", entry["id"]);
                is_done(ask("DELETE", &path, None).as_ref())
            }
            _ => false,
        }
    }

    fn cancel(&self, key: &str, state: &str, ask: &Ask<'_>) -> bool {
        let id = &self.runs[key];
        let Some((200, run)) = ask("GET", &format!("/runs/{id}"), None) else {
            return false;
        };
        let now = run["state"].as_str().unwrap_or_default();
        if now == "cancelled" {
            return true;
        }
        if now != state && !(state == "scheduled" && now == "queued") {
            return false;
        }
        // A conflict is the answer to whoever asks again for what is done: the next look tells.
        let answer = ask("POST", &format!("/runs/{id}/cancel"), None);
        matches!(answer, Some((200, answer)) if state == "running" || answer["outcome"] == "cancelled")
    }
}

/// What is asked of the first process: two runs that it will hold, one that it can't do, and one that waits for a year
/// that nobody waits for.
pub fn ask_first(ask: &Ask<'_>) -> Outcome<BTreeMap<&'static str, String>> {
    let mut asked = BTreeMap::new();
    for task in ["hold", "hold-once"] {
        let body = json!({ "task": task, "idempotency_key": task });
        let answer = ask("POST", "/runs", Some(&body));
        let Some((201, answer)) = answer else {
            return Err(format!("{task} was refused: {answer:?}").into());
        };
        asked.insert(task, answer["id"].as_str().unwrap_or_default().to_owned());
    }
    let refused = json!({ "task": "refused", "idempotency_key": "refused-1", "run_at": "2099-01-01T00:00:00Z" });
    let answer = ask("POST", "/runs", Some(&refused));
    let Some((201, answer)) = answer else {
        return Err(format!("refused was not taken: {answer:?}").into());
    };
    let id = answer["id"].as_str().unwrap_or_default().to_owned();
    asked.insert("refused-1", id);
    let strange = json!({ "task": "strange", "idempotency_key": "strange-1" });
    if ask("POST", "/runs", Some(&strange)).is_none() {
        return Err("strange was not taken".into());
    }
    Ok(asked)
}

/// Looks first, and confirms what was shown. Whoever died after the deletion is told that there is no such task.
fn delete(task: &str, ask: &Ask<'_>) -> bool {
    let look = format!("/tasks/{task}?dry_run=true");
    match ask("DELETE", &look, None) {
        Some((404, _)) => true,
        Some((200, told)) => {
            let token = told["confirm"].as_str().unwrap_or_default();
            let path = format!("/tasks/{task}?confirm={token}");
            is_done(ask("DELETE", &path, None).as_ref())
        }
        _ => false,
    }
}

fn is_done(answer: Option<&(u16, Value)>) -> bool {
    matches!(answer, Some((200..=299, _)))
}
