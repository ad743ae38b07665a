//! What is done to the store. PostgreSQL: killed and started, all its sessions taken, rows locked by somebody else, its
//! disk full. A file: locked by somebody else, its disk full.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use xtask::servers::{Postgres, Tmpfs};

use super::pg_sessions::{Opened, open};
use crate::Outcome;
use crate::scenes::chaos::CONNECTIONS_MAX;
use crate::scenes::chaos::campaign::{Campaign, why};
use crate::scenes::chaos::dice::{Dice, Named};
use crate::scenes::chaos::ledger::Proof;
use crate::stand::servers::Store;

/// What nodes and servers say when there is no room.
const FULL: [&str; 2] = ["No space left on device", "database or disk is full"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Card {
    Kill,
    Crowd,
    LockRuns,
    LockLeader,
    LockFile,
    Fill,
}

const FILL: Named<Card> = (Card::Fill, "disk of the store full", 1);
const POSTGRES: [Named<Card>; 5] = [
    (Card::Kill, "PostgreSQL kill -9 and restart", 1),
    (Card::Crowd, "all sessions of PostgreSQL taken", 2),
    (Card::LockRuns, "rows of runs locked by somebody else", 3),
    (Card::LockLeader, "leader row locked by somebody else", 2),
    FILL,
];
const SQLITE: [Named<Card>; 2] = [
    (Card::LockFile, "SQLite file locked by somebody else", 4),
    FILL,
];

fn cards(store: &Store) -> &'static [Named<Card>] {
    let cards: &[_] = match store {
        Store::Postgres(..) => &POSTGRES,
        Store::Sqlite { .. } => &SQLITE,
    };
    // The last one needs a disk that can be filled.
    &cards[..cards.len() - usize::from(store.disk().is_none())]
}

/// The kinds that [`act`] will try; says so where the disk can't be filled.
pub fn kinds(campaign: &Campaign<'_>) -> Vec<&'static str> {
    let store = &campaign.stand.servers.store;
    if store.disk().is_none() {
        let what = format!("{}: no tmpfs could be mounted (needs root)", FILL.1);
        campaign.ledger.cannot(what);
    }
    cards(store).iter().map(|(_, name, _)| *name).collect()
}

/// Breaks the store until the campaign is over, and leaves it whole.
pub fn act(campaign: &Campaign<'_>) {
    let store = &campaign.stand.servers.store;
    campaign.act("store", (2_000, 9_000), cards(store), |card, dice| {
        let proof = match store {
            Store::Postgres(server, url) => on_server(campaign, server, url, card, dice),
            Store::Sqlite { file, .. } => on_file(campaign, file, card, dice),
        };
        ("store".to_owned(), proof)
    });
}

fn on_server(
    campaign: &Campaign<'_>,
    server: &Postgres,
    url: &str,
    card: Card,
    dice: &mut Dice,
) -> Proof {
    let time = dice.ms(300, 4_000);
    match card {
        Card::Kill => {
            let pid = server.pid();
            server.kill9();
            campaign.rest(dice.ms(0, 2_000));
            revive(campaign, server)?;
            Ok(format!("process {pid} died, {} came", server.pid()))
        }
        Card::Crowd => crowd(server.port(), time),
        Card::LockRuns => {
            let rows = "SELECT id FROM campanile_run ORDER BY random() LIMIT 60 FOR UPDATE";
            hold(server, url, rows, time)
        }
        Card::LockLeader => hold(
            server,
            url,
            "SELECT id FROM campanile_leader FOR UPDATE",
            time,
        ),
        Card::Fill => {
            let log = server.folder().join("postgres.log");
            let disk = server.disk().ok_or("it has no disk of its own")?;
            let proof = fill(disk, time, || count(&log));
            if server.sql("SELECT 1").is_err() {
                revive(campaign, server)?;
            }
            proof
        }
        Card::LockFile => Err("this store is no file".to_owned()),
    }
}

/// Starts the server again until it answers.
fn revive(campaign: &Campaign<'_>, server: &Postgres) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..3 {
        match server.restart() {
            Ok(()) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    campaign.broke(format!("PostgreSQL did not come back: {last}"));
    Err(last)
}

/// Takes every session that is left, holds them, and sees one more refused.
fn crowd(port: u16, time: Duration) -> Proof {
    let mut sessions = Vec::new();
    let mut refusal = None;
    for _ in 0..=CONNECTIONS_MAX {
        match open(port).map_err(why)? {
            Opened::Yes(session) => sessions.push(session),
            Opened::No(message) => {
                refusal = Some(message);
                break;
            }
        }
    }
    let refusal = refusal.ok_or("nobody was refused")?;
    std::thread::sleep(time);
    Ok(format!(
        "{} sessions held for {} ms, one more was told: {refusal}",
        sessions.len(),
        time.as_millis()
    ))
}

/// Locks what `rows` selects for a while.
fn hold(server: &Postgres, url: &str, rows: &str, time: Duration) -> Proof {
    let mut psql = server.psql(url);
    psql.args(["--command", "BEGIN", "--command", rows]);
    psql.args([
        "--command",
        &format!("SELECT pg_sleep({})", time.as_secs_f64()),
    ]);
    // How many wait behind it, as the server says.
    psql.args([
        "--command",
        "SELECT 'waiting ' || COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    ]);
    psql.args(["--command", "COMMIT"]);
    let output = psql.stdin(Stdio::null()).output().map_err(why)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let locked = said.lines().filter(|l| l.parse::<i64>().is_ok()).count();
    if !output.status.success() || locked == 0 {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{locked} rows locked: {}", error.trim()));
    }
    let waiting = said.lines().find_map(|line| line.strip_prefix("waiting "));
    Ok(format!(
        "{locked} rows for {} ms, {} sessions waited behind them",
        time.as_millis(),
        waiting.unwrap_or("0")
    ))
}

fn on_file(campaign: &Campaign<'_>, file: &Path, card: Card, dice: &mut Dice) -> Proof {
    let time = dice.ms(200, 6_500);
    if card == Card::Fill {
        let disk = campaign
            .stand
            .servers
            .store
            .disk()
            .ok_or("it has no disk of its own")?;
        let logs: Vec<_> = campaign.stand.nodes.iter().map(|n| n.log()).collect();
        return fill(disk, time.min(Duration::from_secs(4)), || {
            logs.iter().map(|log| count(log)).sum()
        });
    }
    hold_file(file, time).map_err(why)?
}

/// Begins a write in a session of its own, and does nothing for a while.
fn hold_file(file: &Path, time: Duration) -> Outcome<Proof> {
    let mut shell = Command::new("sqlite3");
    shell
        .args(["-batch", "-bail", "-cmd", ".timeout 4000"])
        .arg(file);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.stderr(Stdio::null()).spawn()?;
    let (Some(mut input), Some(output)) = (shell.stdin.take(), shell.stdout.take()) else {
        return Err("sqlite3 was started without its pipes".into());
    };
    // A shell that gave up has closed its input: then the answer is missing too.
    let _ = input.write_all(b"BEGIN IMMEDIATE;\nSELECT 'held';\n");
    let mut answer = String::new();
    BufReader::new(output).read_line(&mut answer)?;
    let held = answer.trim() == "held";
    if held {
        std::thread::sleep(time);
        let _ = input.write_all(b"ROLLBACK;\n");
    }
    drop(input);
    shell.wait()?;
    Ok(if held {
        Ok(format!(
            "its one writer's place was held for {} ms",
            time.as_millis()
        ))
    } else {
        Err("others kept the file for 4 s".to_owned())
    })
}

/// Fills the disk for a while; somebody must complain meanwhile.
fn fill(disk: &Tmpfs, time: Duration, complaints: impl Fn() -> usize) -> Proof {
    let before = complaints();
    let filled = disk.fill();
    std::thread::sleep(time);
    let after = complaints();
    disk.clear().map_err(why)?;
    let bytes = filled.map_err(why)?;
    if after == before {
        return Err(format!("{bytes} bytes filled it, and nobody complained"));
    }
    Ok(format!(
        "{bytes} bytes filled it for {} ms, {} complaints in the logs",
        time.as_millis(),
        after - before
    ))
}

/// How often a log says that there is no room.
fn count(log: &Path) -> usize {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    FULL.iter().map(|words| text.matches(words).count()).sum()
}
