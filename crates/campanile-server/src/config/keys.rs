//! Every setting once: its name, its default, what it is for. Flags, environment, file, `config check` and the
//! reference page are all made from this table, so that none of them can know a setting that another doesn't.

/// What kind of text a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One text.
    Text,
    /// Several, separated by commas; an array in the file.
    List,
    /// Programs with patterns of their arguments, separated by commas; in the file an array of such texts, or of tables.
    Programs,
    /// `true` or `false`; as a flag, its name alone.
    Switch,
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file; `CAMPANILE_` and capitals in the environment; `--` and hyphens as a flag.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default, as it would be written; empty = none.
    pub default: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
    /// What the flag's value is called.
    pub value: &'static str,
    /// What it is for.
    pub help: &'static str,
}

impl Key {
    /// Whether its value is the URL of a service, which may hold a password.
    #[must_use]
    pub fn is_url(&self) -> bool {
        self.value == "URL"
    }

    /// `CAMPANILE_LOCK_TTL`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("CAMPANILE_{}", self.name.to_ascii_uppercase())
    }

    /// `lock-ttl`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

const fn text(
    name: &'static str,
    default: &'static str,
    value: &'static str,
    help: &'static str,
) -> Key {
    Key {
        name,
        kind: Kind::Text,
        default,
        secret: false,
        value,
        help,
    }
}

const fn list(
    name: &'static str,
    default: &'static str,
    value: &'static str,
    help: &'static str,
) -> Key {
    Key {
        kind: Kind::List,
        ..text(name, default, value, help)
    }
}

const fn switch(name: &'static str, help: &'static str) -> Key {
    Key {
        kind: Kind::Switch,
        ..text(name, "false", "", help)
    }
}

/// All settings, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    text(
        "store",
        "sqlite:campanile.db",
        "URL",
        "Where tasks and runs are kept: sqlite:FILE, postgres://user:pass@host/database or mysql://user:pass@host/database (MariaDB)",
    ),
    text(
        "lock",
        "store:",
        "URL",
        "Who decides which scheduler tries to lead: store:, redis://h:p, redis+sentinel://h1:p,h2:p/SERVICE or \
         redis+cluster://h1:p,h2:p (rediss… for TLS)",
    ),
    text(
        "broker",
        "memory:",
        "URL",
        "What carries runs to workers: memory: (one process), store: (the database itself), stomp://user:pass@h1:p,h2:p or \
         amqp://user:pass@h1:p,h2:p/VHOST (stomp+ssl://… and amqps://… for TLS)",
    ),
    text(
        "cluster",
        "campanile",
        "NAME",
        "The cluster's name: systems that share a Redis need different ones",
    ),
    text(
        "name",
        "",
        "NODE",
        "This node's name, for people; default: the host's name and the process id",
    ),
    list(
        "roles",
        "scheduler,worker,api",
        "ROLES",
        "What this node does: scheduler, worker, api",
    ),
    list(
        "queues",
        "default",
        "QUEUES",
        "Queues that this node's worker takes runs from",
    ),
    text(
        "slots",
        "64",
        "N",
        "Runs that this node's worker runs at once, 1 to 10000",
    ),
    text(
        "listen",
        "127.0.0.1:7070",
        "ADDR:PORT",
        "Where health, metrics, API and pages are served",
    ),
    text(
        "lock_ttl",
        "5s",
        "DURATION",
        "How long a leader that died is waited for, 1s to 5m",
    ),
    text(
        "lease",
        "10s",
        "DURATION",
        "How long a worker may stay silent before its runs are given to others, 2s to 10m",
    ),
    text(
        "drain",
        "30s",
        "DURATION",
        "How long a stopping node waits for its runs to end before it gives them back",
    ),
    text(
        "log_bytes_max",
        "1MiB",
        "SIZE",
        "The most that this worker keeps of one attempt's output, whatever its task says, 4KiB to 1MiB",
    ),
    text(
        "retention",
        "30d",
        "DURATION",
        "How long finished runs are kept",
    ),
    text(
        "audit_retention",
        "400d",
        "DURATION",
        "How long lines of the audit are kept",
    ),
    text(
        "catch_up_per_second",
        "100",
        "N",
        "Missed occurrences that are started in a second, at most, after an outage, 1 to 1000",
    ),
    text(
        "tasks",
        "",
        "FILE",
        "A task file to apply at the start, before anything runs",
    ),
    Key {
        secret: true,
        ..text(
            "token",
            "",
            "TOKEN",
            "The bearer token of API and pages, 16 characters or more; not as a flag, where everybody could read it",
        )
    },
    text(
        "token_file",
        "",
        "FILE",
        "A file that holds the token (mode 0600), or two, one a line: clients use the first, both are taken",
    ),
    list(
        "trusted_proxies",
        "",
        "ADDRESSES",
        "Proxies in front of this node, as addresses or networks (10.0.0.0/8): theirs is the word on who the client is",
    ),
    text(
        "public_url",
        "",
        "ADDRESS",
        "Where browsers know this service to be, as in https://campanile.example: what stands in front does TLS",
    ),
    text(
        "access_proxy_header",
        "",
        "HEADER",
        "A header in which a proxy that has checked people says who they are, as in X-Forwarded-User",
    ),
    list(
        "access_proxy_from",
        "",
        "ADDRESSES",
        "The addresses or networks of that proxy: its connections must come from there",
    ),
    text(
        "access_proxy_groups_header",
        "",
        "HEADER",
        "A header in which that proxy says people's groups, with commas between them",
    ),
    list(
        "access_proxy_groups",
        "",
        "GROUP=ROLE",
        "What those groups may do, the first that fits: ops=operator, ops=operator+data, ops=operator@owner:finance",
    ),
    text(
        "access_proxy_rights",
        "",
        "ROLE",
        "What people may do whom that proxy names and who are in none of those groups, as in viewer; none = nothing",
    ),
    text(
        "access_oidc_issuer",
        "",
        "ISSUER",
        "An identity provider (OpenID Connect), by its issuer's address; `public_url` must be set",
    ),
    text(
        "access_oidc_client_id",
        "",
        "ID",
        "What that provider calls this service",
    ),
    Key {
        secret: true,
        ..text(
            "access_oidc_client_secret",
            "",
            "SECRET",
            "The secret between that provider and this service; none = a public client",
        )
    },
    text(
        "access_oidc_client_secret_file",
        "",
        "FILE",
        "A file that holds that secret (mode 0600)",
    ),
    list(
        "access_oidc_scopes",
        "openid,profile,email",
        "SCOPES",
        "What that provider is asked for; some want one for groups",
    ),
    text(
        "access_oidc_user_claim",
        "preferred_username",
        "CLAIM",
        "The claim of its token that holds what people call somebody",
    ),
    text(
        "access_oidc_groups_claim",
        "groups",
        "CLAIM",
        "The claim that holds somebody's groups; with points it is a way through objects: realm_access.roles",
    ),
    list(
        "access_oidc_groups",
        "",
        "GROUP=ROLE",
        "What those groups may do, as with access_proxy_groups; who is in none of them is not let in",
    ),
    text(
        "tls_cert",
        "",
        "FILE",
        "The certificate chain (PEM) to serve https with",
    ),
    text("tls_key", "", "FILE", "Its private key (PEM)"),
    switch(
        "insecure",
        "Allow to listen beyond loopback without TLS: everybody on the path can read the token",
    ),
    list(
        "metrics_tasks",
        "",
        "NAMES",
        "Tasks that have figures of their own in /metrics, at most 1,000: names, in which * stands for anything, as in \
         billing-*",
    ),
    list(
        "metrics_labels",
        "",
        "KEYS",
        "Labels of those tasks that their figures show, as label_KEY: at most 10 keys, as in team",
    ),
    switch("metrics_public", "Serve /metrics without the token"),
    text(
        "max_connections",
        "auto",
        "N",
        "Connections over HTTP in all, 16 to 1000000; auto = what the process's descriptors leave over",
    ),
    text(
        "max_connections_per_address",
        "256",
        "N",
        "Connections over HTTP from one client's address, 16 to 1000000; trusted proxies may have all",
    ),
    text(
        "max_bytes_in_flight",
        "64MiB",
        "SIZE",
        "Bytes of all requests' bodies at once, 8MiB to 4GiB; a request that finds no room is told to come back",
    ),
    text(
        "max_bulk_body",
        "16MiB",
        "SIZE",
        "The biggest body with many tasks or runs, 1MiB to 256MiB; other bodies have 1MiB",
    ),
    Key {
        kind: Kind::Programs,
        ..text(
            "allow_commands",
            "",
            "PROGRAMS",
            "Programs that command handlers may run on this worker, by absolute path; empty = no command runs. After a path, \
             patterns pin the arguments, as in '/usr/bin/df -h /data/*': exactly those, more after a last ..., none for (); * \
             stands for one or more characters but /",
        )
    },
    list(
        "allow_env",
        "",
        "NAMES",
        "Variables that tasks may set for programs on this worker, as in LANG,APP_*; PATH, HOME and those that decide what a \
         loader or an interpreter runs (LD_…, BASH_ENV, PYTHON…) only by their whole names; empty = none",
    ),
    text(
        "run_as",
        "",
        "USER",
        "The user that programs run as, without a way back; for a worker that is root. Empty = as the worker itself, which \
         programs can then reach",
    ),
    text(
        "cgroup",
        "auto",
        "WHEN",
        "Whether each program gets a cgroup (version 2) of its own, which ends all of it: auto = where one can be made, \
         required = else the node does not start, off",
    ),
    text(
        "secrets_dir",
        "",
        "DIR",
        "A folder with one file for each secret (mode 0600) that tasks name; [[secret]] of the file says who may use which",
    ),
    list(
        "mask_keys",
        "",
        "NAMES",
        "Names whose values are masked where definitions, payloads and logs are shown, beside password, token and their like",
    ),
    switch(
        "allow_private_targets",
        "Let http handlers reach loopback and private addresses",
    ),
    text(
        "log",
        "text",
        "FORMAT",
        "How log lines look on stderr: text or json",
    ),
    text(
        "log_level",
        "info",
        "FILTER",
        "What is logged: error, warn, info, debug, trace, or a filter as in info,campanile=debug",
    ),
];

/// The setting of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name)
}

#[cfg(test)]
mod tests {
    use campanile_core::misread::nearest;

    use super::*;

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        let names = || KEYS.iter().map(|k| k.name);
        assert_eq!(nearest("lock_tll", names()), Some("lock_ttl"));
        assert_eq!(nearest("queue", names()), Some("queues"));
        assert_eq!(nearest("tokn", names()), Some("token"));
        assert_eq!(nearest("frobnicate", names()), None);
    }
}
