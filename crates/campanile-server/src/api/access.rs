//! Which right each route needs, and of what: one table, which the document of the API says too. It decides nothing:
//! [`campanile_ask`] checks each function's actor, and a test asks every route as every role and compares.

use campanile_access::{Right, Role};

/// Of what a route's right must be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Of the task that it names.
    Task,
    /// Of the run that it names; or the run was submitted by who asks.
    RunOrOwn,
    /// Of the run that it names.
    Run,
    /// Of each run that it submits: its task, its queue.
    Submission,
    /// Of each task that it names, and of its owner.
    Definition,
    /// Of the queue that it names.
    Queue,
    /// Of what is set aside.
    Aside,
    /// Of anything: what is outside is left out of the answer.
    List,
    /// The same; and runs that were submitted by who asks are in it.
    ListAndOwn,
    /// Of anything: it is about the cluster, and holds nothing of a task.
    Cluster,
    /// Of everything: it is everybody's.
    Everything,
    /// Of nothing: whoever is known may ask, and no right is looked at.
    Anybody,
}

/// A route and what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub method: &'static str,
    pub path: &'static str,
    pub right: Right,
    pub bound: Bound,
}

const fn rule(method: &'static str, path: &'static str, right: Right, bound: Bound) -> Rule {
    Rule {
        method,
        path,
        right,
        bound,
    }
}

/// Every route of the API, in the order of its paths.
pub const ROUTES: &[Rule] = &[
    rule("post", "/api/v1/apply", Right::Define, Bound::Definition),
    rule("get", "/api/v1/audit", Right::Audit, Bound::Everything),
    rule(
        "get",
        "/api/v1/audit/export",
        Right::Audit,
        Bound::Everything,
    ),
    rule(
        "get",
        "/api/v1/audit/verify",
        Right::Audit,
        Bound::Everything,
    ),
    rule("get", "/api/v1/calendars", Right::See, Bound::List),
    rule("get", "/api/v1/calendars/{name}", Right::See, Bound::List),
    rule(
        "put",
        "/api/v1/calendars/{name}",
        Right::Define,
        Bound::Everything,
    ),
    rule(
        "delete",
        "/api/v1/calendars/{name}",
        Right::Define,
        Bound::Everything,
    ),
    rule("get", "/api/v1/hold", Right::See, Bound::Cluster),
    rule("put", "/api/v1/hold", Right::Lead, Bound::Everything),
    rule("delete", "/api/v1/hold", Right::Lead, Bound::Everything),
    rule("get", "/api/v1/inbox", Right::See, Bound::Everything),
    rule("get", "/api/v1/leader", Right::See, Bound::Cluster),
    rule(
        "post",
        "/api/v1/leader/resign",
        Right::Lead,
        Bound::Everything,
    ),
    rule("get", "/api/v1/limits", Right::See, Bound::Cluster),
    rule("put", "/api/v1/limits/{limit}", Right::Limit, Bound::Queue),
    rule(
        "delete",
        "/api/v1/limits/{limit}",
        Right::Limit,
        Bound::Queue,
    ),
    rule("get", "/api/v1/me", Right::See, Bound::Anybody),
    rule("get", "/api/v1/nodes", Right::See, Bound::Cluster),
    rule("get", "/api/v1/plan", Right::See, Bound::List),
    rule("get", "/api/v1/quarantine", Right::See, Bound::List),
    rule(
        "delete",
        "/api/v1/quarantine/{id}",
        Right::Define,
        Bound::Aside,
    ),
    rule(
        "post",
        "/api/v1/quarantine/{id}/release",
        Right::Operate,
        Bound::Aside,
    ),
    rule("get", "/api/v1/queues", Right::See, Bound::Cluster),
    rule(
        "get",
        "/api/v1/queues/{name}/key",
        Right::Keys,
        Bound::Queue,
    ),
    rule("get", "/api/v1/runs", Right::See, Bound::ListAndOwn),
    rule("post", "/api/v1/runs", Right::Submit, Bound::Submission),
    rule("get", "/api/v1/runs/by-key", Right::See, Bound::RunOrOwn),
    rule(
        "post",
        "/api/v1/runs/by-key/cancel",
        Right::Operate,
        Bound::RunOrOwn,
    ),
    rule(
        "post",
        "/api/v1/runs/by-key/move",
        Right::Operate,
        Bound::Run,
    ),
    rule("get", "/api/v1/runs/{id}", Right::See, Bound::RunOrOwn),
    rule(
        "post",
        "/api/v1/runs/{id}/cancel",
        Right::Operate,
        Bound::RunOrOwn,
    ),
    rule("get", "/api/v1/runs/{id}/log", Right::Data, Bound::RunOrOwn),
    rule(
        "get",
        "/api/v1/runs/{id}/log/stream",
        Right::Data,
        Bound::RunOrOwn,
    ),
    rule("post", "/api/v1/runs/{id}/move", Right::Operate, Bound::Run),
    rule(
        "post",
        "/api/v1/runs/{id}/retry",
        Right::Operate,
        Bound::Run,
    ),
    rule("get", "/api/v1/sessions", Right::People, Bound::Everything),
    rule(
        "delete",
        "/api/v1/sessions/{id}",
        Right::People,
        Bound::Everything,
    ),
    rule("get", "/api/v1/stats", Right::See, Bound::Cluster),
    rule("get", "/api/v1/tasks", Right::See, Bound::List),
    rule("get", "/api/v1/tasks/{name}", Right::See, Bound::Task),
    rule(
        "put",
        "/api/v1/tasks/{name}",
        Right::Define,
        Bound::Definition,
    ),
    rule("delete", "/api/v1/tasks/{name}", Right::Define, Bound::Task),
    rule(
        "post",
        "/api/v1/tasks/{name}/backfill",
        Right::Operate,
        Bound::Task,
    ),
    rule(
        "post",
        "/api/v1/tasks/{name}/pause",
        Right::Operate,
        Bound::Task,
    ),
    rule(
        "post",
        "/api/v1/tasks/{name}/resume",
        Right::Operate,
        Bound::Task,
    ),
    rule(
        "post",
        "/api/v1/tasks/{name}/trigger",
        Right::Submit,
        Bound::Submission,
    ),
    rule("get", "/api/v1/tasks/{name}/why", Right::See, Bound::Task),
    rule("get", "/api/v1/tokens", Right::People, Bound::Everything),
    rule("post", "/api/v1/tokens", Right::People, Bound::Everything),
    rule(
        "delete",
        "/api/v1/tokens/{name}",
        Right::People,
        Bound::Everything,
    ),
    rule("get", "/api/v1/users", Right::People, Bound::Everything),
    rule("post", "/api/v1/users", Right::People, Bound::Everything),
    rule(
        "get",
        "/api/v1/users/{name}",
        Right::People,
        Bound::Everything,
    ),
    rule(
        "delete",
        "/api/v1/users/{name}",
        Right::People,
        Bound::Everything,
    ),
    rule(
        "post",
        "/api/v1/users/{name}/disable",
        Right::People,
        Bound::Everything,
    ),
    rule(
        "post",
        "/api/v1/users/{name}/enable",
        Right::People,
        Bound::Everything,
    ),
    rule(
        "put",
        "/api/v1/users/{name}/password",
        Right::People,
        Bound::Everything,
    ),
    rule(
        "put",
        "/api/v1/users/{name}/rights",
        Right::People,
        Bound::Everything,
    ),
    rule(
        "delete",
        "/api/v1/users/{name}/sessions",
        Right::People,
        Bound::Everything,
    ),
];

impl Bound {
    /// In words.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Task => "the task",
            Self::RunOrOwn => "the run; or it was submitted by who asks, who holds `submit`",
            Self::Run => "the run",
            Self::Submission => {
                "the task and the queue; a handler of its own but `native` needs `define`"
            }
            Self::Definition => {
                "each task as it was and as it will be, and the owner that it gets; limits and calendars as by themselves"
            }
            Self::Queue => "the queue; a group's limit is everybody's",
            Self::Aside => "the task or the queue of what is set aside",
            Self::List => "what is in the scope is in the answer",
            Self::ListAndOwn => {
                "what is in the scope is in the answer, and what was submitted by who asks, who holds `submit`"
            }
            Self::Cluster => "nothing: it tells nothing of a task",
            Self::Everything => "everything: no scope",
            Self::Anybody => "nothing: whoever is known may ask",
        }
    }
}

/// The page that says all of it.
#[must_use]
pub fn page() -> String {
    let mut out =
        "# Who may do what\n\nMade from the program. What a scope is, and how roles are given: \
                   [Access](../guide/access.md).\n\n## Roles\n\n| right |"
            .to_owned();
    let line = |cells: Vec<String>| format!(" {} |", cells.join(" | "));
    out.push_str(&line(Role::ALL.iter().map(ToString::to_string).collect()));
    out.push_str(&format!("\n|---|{}\n", "---|".repeat(Role::ALL.len())));
    for right in Right::ALL {
        let cell = |role: &Role| match (right, role.rights().contains(&right)) {
            (Right::Data, _) => "beside".to_owned(),
            (_, true) => "yes".to_owned(),
            (_, false) => "-".to_owned(),
        };
        let cells = Role::ALL.iter().map(cell).collect();
        out.push_str(&format!("| `{right}` |{}\n", line(cells)));
    }
    out.push_str("\n## Routes\n\n| route | right | of what it must be held |\n|---|---|---|\n");
    for rule in ROUTES {
        let (method, told) = (rule.method.to_uppercase(), rule.bound.told());
        let path = rule.path;
        out.push_str(&format!(
            "| `{method} {path}` | `{}` | {told} |\n",
            rule.right
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_of_the_document_is_in_the_table_once() {
        let document = crate::api::document();
        let paths = document["paths"].as_object().unwrap();
        let routes = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (path.clone(), method.clone()))
        });
        let documented: BTreeSet<(String, String)> = routes.collect();
        let of_table = ROUTES
            .iter()
            .map(|rule| (rule.path.to_owned(), rule.method.to_owned()));
        assert_eq!(of_table.clone().collect::<BTreeSet<_>>(), documented);
        assert_eq!(of_table.count(), documented.len());
    }
}
