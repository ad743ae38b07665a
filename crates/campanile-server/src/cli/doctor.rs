//! `doctor`: asks everything that a node with these settings would need, and says for each what was found and what to
//! do. It changes nothing: no table, no lock, no message.

mod access;
mod broker;
mod clock;
mod local;
mod lock;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use campanile_adapters::{open, sql};
use campanile_ask::{Groups, Held, blocked_because, newest_record};
use campanile_core::decide::permits::LimitKey;
use campanile_core::decide::publish::routing::Routes;
use campanile_core::limits::PAGE_ROWS_MAX;
use campanile_core::port::ask::{AskCluster as _, AskTasks as _};
use campanile_core::port::ask::{Quarantined, TaskFilter};
use campanile_core::port::fire::{FireStore as _, PermitStore as _};
use campanile_core::port::lead::LeadStore as _;
use campanile_core::port::store::{self, CLOCK_STATE, ZONE_RULES};
use campanile_core::system::{self, zone_rules};
use serde::Serialize;

use self::local::{files, local};
use super::Failure;
use super::args::Settings as Args;
use super::out::{Out, short, waiting};
use super::serve::gather;
use super::{client, dev, unreadable};
use crate::config::{Environment, Raw, ServiceUrl, Settings, Source, find_key};
use crate::token;
use campanile_core::causes;

/// How long each check may take.
const LIMIT: Duration = Duration::from_secs(15);
/// Pages of tasks that are looked through for those that nobody takes.
const TASK_PAGES_MAX: usize = 50;
/// Different troubles that are told.
const TROUBLES_MAX: usize = 20;
/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    level: Level,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Failed,
}

impl Finding {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            what,
            level: Level::Ok,
            text,
        }
    }

    fn warning(what: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            what,
            level: Level::Warning,
            text,
        }
    }

    fn failed(what: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            what,
            level: Level::Failed,
            text,
        }
    }
}

/// `doctor`
pub async fn run(args: Args, environment: &Environment, out: Out) -> Result<ExitCode, Failure> {
    let (settings, found, exposed) = settings(args, environment)?;
    let mut findings = vec![Finding::ok("settings", found)];
    findings.extend(
        exposed
            .into_iter()
            .map(|text| Finding::warning("settings", text)),
    );
    let mut clocks = clock::Clocks::default();
    findings.extend(waiting("asking the store", store(&settings, &mut clocks)).await);
    findings.extend(waiting("asking the lock", lock::lock(&settings, &clocks)).await);
    findings.extend(waiting("asking the broker", broker::broker(&settings)).await);
    findings.extend(waiting("asking the identity provider", access::provider(&settings)).await);
    findings.extend(local(&settings));
    findings.extend(files(&settings));
    let scrub = settings.cluster.scrub();
    for finding in &mut findings {
        // Drivers quote what they could not use.
        finding.text = scrub.clean(&finding.text).into_owned();
    }
    out.show(&findings, |out, findings| {
        for finding in findings {
            let mark = match finding.level {
                Level::Ok => "ok     ",
                Level::Warning => "warning",
                Level::Failed => "FAILED ",
            };
            out.line(format!("{mark}  {:<9} {}", finding.what, finding.text));
        }
    });
    let failed = findings.iter().any(|f| f.level == Level::Failed);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The settings to test. Where nothing says which store, and this folder has the one of `campanile dev` and no other,
/// that one is meant. Answers also which it is, and what is exposed in them.
pub(super) fn settings(
    mut args: Args,
    environment: &Environment,
) -> Result<(Settings, String, Vec<String>), Failure> {
    let as_given = Args {
        config: args.config.clone(),
        flags: args.flags.clone(),
    };
    let written = gather(as_given, environment)?;
    let is_default = written
        .shown()
        .iter()
        .any(|(name, _, source)| *name == "store" && source == "default");
    let is_here = |store| {
        // The token's file is named after the store's.
        let path = token::file_of(store);
        path.is_some_and(|path| path.with_extension("").exists())
    };
    let of_dev = is_default && is_here(dev::STORE) && !is_here(client::DEFAULT_STORE);
    let Some(key) = find_key("store").filter(|_| of_dev) else {
        let found = "all settings are valid".to_owned();
        return Ok((written.settings()?, found, written.exposed()));
    };
    let store = Raw::split(dev::STORE, key.kind, Source::Flag(key.flag()));
    args.flags.layer.insert(key.name, store);
    let said = format!(
        "no setting names a store, and this folder has the one of `campanile dev` ({}): that one is tested",
        dev::STORE
    );
    Ok((
        gather(args, environment)?.settings()?,
        said,
        written.exposed(),
    ))
}

const FULL: &str =
    "the store's disk is full: nothing can be recorded; free some room, or give it more";
/// Less room than this beside a store's file is as good as none: its log of writes alone takes some.
const ROOM_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Less than this is worth a word.
const ROOM_BYTES_FEW: u64 = 256 * 1024 * 1024;

/// The room on the disk of a store that is a file of this machine.
fn room_beside(store: &str) -> Option<Finding> {
    let file = token::file_of(store)?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::Path::new("."),
    };
    let disk = nix::sys::statvfs::statvfs(folder).ok()?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    Some(room(free))
}

fn room(free: u64) -> Finding {
    let mib = free / (1024 * 1024);
    let left = format!("the store's disk has {mib} MiB left");
    if free < ROOM_BYTES_MIN {
        Finding::failed("room", format!("{FULL} ({mib} MiB are free)"))
    } else if free < ROOM_BYTES_FEW {
        Finding::warning("room", format!("{left}: a full one stops all work"))
    } else {
        Finding::ok("room", left)
    }
}

/// Tasks that nobody takes as things stand: what is said of each trouble is said once, with the first of its tasks.
async fn reach(store: &sql::Store, broker: &ServiceUrl) -> Result<Vec<Finding>, store::Error> {
    let routes = Routes::of(&store.nodes().await?).reaching(!open::is_in_store(broker));
    let mut troubles: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let (mut after, mut groups): (Option<String>, _) = (None, Groups::default());
    for _ in 0..TASK_PAGES_MAX {
        let page = store
            .tasks(&TaskFilter::default(), after.as_deref(), PAGE_ROWS_MAX)
            .await?;
        for task in page.tasks.iter().filter(|task| !task.spec.is_paused()) {
            groups.note(&task.spec);
            if let Some(trouble) =
                routes.trouble_of(&task.spec.queue, &task.spec.handler, Some(task))
            {
                let first = || (task.spec.name.clone(), 0);
                troubles.entry(trouble.to_string()).or_insert_with(first).1 += 1;
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let told = troubles
        .into_iter()
        .take(TROUBLES_MAX)
        .map(|(trouble, (first, count))| {
            let tasks = match count {
                1 => format!("task `{first}`"),
                n => format!("{n} tasks (`{first}` and others)"),
            };
            Finding::warning("workers", format!("{tasks}: {trouble}"))
        });
    let mut found: Vec<Finding> = told.collect();
    // Where not all tasks were looked at, a group may have one that was not.
    let all_seen = after.is_none();
    let rules = store.rules().await?;
    let unused = rules.limits.keys().filter_map(|key| {
        let why = groups.without_use(key, &routes)?;
        (all_seen || !matches!(key, LimitKey::Group(_))).then(|| format!("limit `{key}`: {why}"))
    });
    let strays = groups.without_limit(&rules).into_iter().chain(unused);
    let strays = strays.take(TROUBLES_MAX);
    found.extend(strays.map(|text| Finding::warning("limits", text)));
    for (key, count) in store.blocked().await? {
        if let LimitKey::Ability(queue, need) = key {
            let why = blocked_because(&queue, &need);
            let text = format!("{count} runs of queue `{queue}` are blocked: {why}");
            found.push(Finding::warning("blocked", text));
        }
    }
    Ok(found)
}

/// This machine's zone rules beside those that the due rows were computed with.
fn zones(kept: Option<String>) -> Finding {
    let ours = zone_rules();
    match kept {
        Some(kept) if kept != ours => Finding::warning(
            "zones",
            format!(
                "the zone rules are {ours} here and {kept} in the cluster: when this node leads, it moves the due rows \
                 that stand elsewhere; keep all nodes on one release of tzdata"
            ),
        ),
        _ => Finding::ok("zones", format!("the zone rules are {ours}")),
    }
}

async fn store(settings: &Settings, clocks: &mut clock::Clocks) -> Vec<Finding> {
    match system::within(LIMIT, ask_store(settings, clocks)).await {
        Some(Ok(findings)) => findings,
        Some(Err(error)) => vec![Finding::failed("store", error)],
        None => vec![Finding::failed(
            "store",
            late("store", &settings.cluster.store),
        )],
    }
}

async fn ask_store(
    settings: &Settings,
    clocks: &mut clock::Clocks,
) -> Result<Vec<Finding>, String> {
    let url = settings.cluster.store.reveal();
    let what = |e: &dyn std::error::Error| causes(e);
    let pending = sql::pending(url).await.map_err(|e| what(&e))?;
    if !pending.is_empty() {
        return Ok(vec![Finding::warning(
            "store",
            format!(
                "{} can be reached, and {} migrations are to be done: the first node does them at its start, or run \
                 `campanile migrate`",
                settings.cluster.store,
                pending.len()
            ),
        )]);
    }
    let options = sql::Options {
        node_name: "campanile-doctor".to_owned(),
        max_connections: 2,
        migrate: sql::Migrate::Never,
        ..sql::Options::default()
    };
    let store = sql::open(url, options).await.map_err(|e| what(&e))?;
    let about = store.describe().await.map_err(|e| what(&e))?;
    let mut out = vec![Finding::ok(
        "store",
        format!("{} {} at {}", about.kind, about.server, about.url),
    )];
    out.extend(match store.has_room().await {
        Ok(Some(true)) => Some(Finding::ok("room", "the database takes more")),
        Ok(Some(false)) => Some(Finding::failed("room", FULL)),
        Ok(None) => room_beside(url),
        Err(error) => return Err(what(&error)),
    });
    let before = system::wall_now();
    let leader = store.leader().await.map_err(|e| what(&e))?;
    let after = system::wall_now();
    out.push(clocks.of_store(before, leader.now, after));
    let newest = newest_record(&*store).await.map_err(|e| what(&e))?;
    let told = store.setting(CLOCK_STATE).await.map_err(|e| what(&e))?;
    out.extend(clock::of_store(&leader, newest, told.as_deref()));
    out.push(match leader.epoch {
        0 => Finding::ok("leader", "nobody has led yet"),
        epoch => Finding::ok("leader", format!("term {epoch}, by `{}`", leader.node_name)),
    });
    let hold = leader.hold.map(|hold| Held::from(hold).told());
    out.extend(hold.map(|told| Finding::warning("hold", told)));
    out.extend(
        reach(&store, &settings.cluster.broker)
            .await
            .map_err(|e| what(&e))?,
    );
    out.push(zones(
        store.setting(ZONE_RULES).await.map_err(|e| what(&e))?,
    ));
    let aside = store.quarantine(None, 1_000).await.map_err(|e| what(&e))?;
    out.push(quarantine(&aside));
    let spoiled = unreadable::told(&store.unreadable().await.map_err(|e| what(&e))?);
    out.extend(spoiled.into_iter().map(|t| Finding::warning("rows", t)));
    store.close().await;
    Ok(out)
}

/// What the store refused to record.
fn quarantine(aside: &[Quarantined]) -> Finding {
    let Some(first) = aside.first() else {
        return Finding::ok("records", "nothing is set aside");
    };
    let of = match (first.run, first.task) {
        (Some(run), _) => format!("run {run}"),
        (None, Some(task)) => format!("task {task}"),
        (None, None) => "a due row".to_owned(),
    };
    Finding::warning(
        "records",
        format!(
            "the store refused to record {} things, which are set aside; the oldest is of {of} ({}): {}. Mend that, then \
             `campanile quarantine list` and `campanile quarantine release ID`",
            aside.len(),
            first.what,
            short(&first.error, 300)
        ),
    )
}

fn late(setting: &str, url: &ServiceUrl) -> String {
    format!(
        "{url} gives no answer within {} s: check the address and the network (setting `{setting}`)",
        LIMIT.as_secs()
    )
}
