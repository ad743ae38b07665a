//! systemd's timers and the services that they start, as tasks. Owns what of a timer is kept; each key that is not is named
//! with its place. It reads no file.

mod service;
pub(super) mod unit;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use campanile_schedule::on_calendar::{span, translate};
use campanile_schedule::time::{Timestamp, format_duration};

use self::unit::{Entry, Unit};
use super::task::{Imported, shown, slug, unused, written};

const SECTION: &str = "Timer";

/// What there is to say: a place, and a sentence; each once.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    all: Vec<(String, String)>,
    seen: BTreeSet<(String, String)>,
}

impl Remarks {
    fn say(&mut self, place: &str, remark: &str) {
        let remark = (place.to_owned(), remark.to_owned());
        if self.seen.insert(remark.clone()) {
            self.all.push(remark);
        }
    }
}

/// What became of units.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// Each as a task file has it.
    pub(super) tasks: Vec<String>,
    /// Timers that were not taken.
    pub(super) refused: usize,
    /// What there is to say, with its place.
    pub(super) remarks: Vec<(String, String)>,
}

/// Why a timer was not taken, with its place.
type Refused = (String, String);

/// Makes tasks of the timers among units. `zone` is the one that events without their own are meant in.
pub(super) fn convert(units: &[Unit], zone: &str, now: Timestamp) -> Converted {
    let mut out = Converted::default();
    let (mut remarks, mut names) = (Remarks::default(), HashSet::new());
    let is_timer = |unit: &&Unit| unit.name.ends_with(".timer");
    let services: BTreeMap<&str, &Unit> = units.iter().map(|u| (u.name.as_str(), u)).collect();
    for timer in units.iter().filter(is_timer) {
        match tasks(timer, &services, zone, &mut remarks) {
            Ok(tasks) => {
                for mut task in tasks {
                    task.name = unused(&task.name, &names);
                    match written(&task, now) {
                        Ok(text) => {
                            names.insert(task.name);
                            out.tasks.push(text);
                        }
                        Err(reason) => {
                            refuse(&mut out, &mut remarks, (timer.shown.clone(), reason));
                        }
                    }
                }
            }
            Err(refused) => refuse(&mut out, &mut remarks, refused),
        }
    }
    out.remarks = remarks.all;
    out
}

fn refuse(out: &mut Converted, remarks: &mut Remarks, (place, reason): Refused) {
    out.refused += 1;
    remarks.say(&place, &format!("not taken: {reason}"));
}

/// The tasks of a timer: one, or one for each zone that its events name.
fn tasks(
    timer: &Unit,
    services: &BTreeMap<&str, &Unit>,
    zone: &str,
    remarks: &mut Remarks,
) -> Result<Vec<Imported>, Refused> {
    let stem = timer.name.trim_end_matches(".timer");
    let started = timer.last(SECTION, "Unit");
    let name = timer.starts();
    let Some(service) = services.get(name.as_str()) else {
        let place = started.map_or(&timer.shown, |e| &e.place);
        let reason = format!(
            "it starts `{}`, which is not among the files: name that file too, or its folder",
            shown(&name)
        );
        return Err((place.clone(), reason));
    };
    let schedules = schedules(timer, zone, remarks)?;
    say_dropped(timer, remarks);
    say_conditions(service, remarks);
    let taken = service::convert(service, remarks)?;
    let described = timer.last("Unit", "Description");
    let described = service.last("Unit", "Description").or(described);
    let task = Imported {
        name: slug(stem).ok_or_else(|| {
            let reason = format!("`{}` leaves no name", shown(stem));
            (timer.shown.clone(), reason)
        })?,
        description: described.map(|e| e.value.clone()),
        jitter: jitter(timer, remarks)?,
        misfire: Some(if timer.is_on(SECTION, "Persistent") {
            "last"
        } else {
            "skip"
        }),
        // A service that runs is not started again.
        overlap: Some("skip"),
        timeout: Some(taken.timeout),
        retry: taken.retry,
        handler: Some(taken.handler),
        ..Imported::default()
    };
    if schedules.len() > 1 {
        let remark = "its events name several zones: there is a task for each of them";
        remarks.say(&timer.shown, remark);
    }
    let of_zone = |(zone, texts): (String, Vec<String>)| Imported {
        schedule: texts.into_iter().collect(),
        timezone: Some(zone),
        ..task.clone()
    };
    Ok(schedules.into_iter().map(of_zone).collect())
}

/// A timer's schedules by the zone that they are meant in.
fn schedules(
    timer: &Unit,
    zone: &str,
    remarks: &mut Remarks,
) -> Result<Vec<(String, Vec<String>)>, Refused> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    let mut put = |zone: String, text: String| match out.iter_mut().find(|(z, _)| *z == zone) {
        Some((_, texts)) => texts.push(text),
        None => out.push((zone, vec![text])),
    };
    for entry in timer.all(SECTION, "OnCalendar") {
        let event = translate(&entry.value).map_err(|e| (entry.place.clone(), e))?;
        put(
            event.timezone.unwrap_or_else(|| zone.to_owned()),
            event.schedule,
        );
    }
    for entry in timer.all(SECTION, "OnUnitActiveSec") {
        put(zone.to_owned(), format!("every {}", length(entry)?));
    }
    for entry in timer.all(SECTION, "OnUnitInactiveSec") {
        put(zone.to_owned(), format!("after {}", length(entry)?));
    }
    for key in ["OnBootSec", "OnStartupSec", "OnActiveSec"] {
        for entry in timer.all(SECTION, key) {
            let remark = format!(
                "{key}= is dropped: it counts from the start of a machine, and a task is of the whole cluster (`@reboot` in \
                 the guide, docs/guide/migrate.md)"
            );
            remarks.say(&entry.place, &remark);
        }
    }
    let entry = timer.last(SECTION, "OnUnitInactiveSec");
    let all = || out.iter().flat_map(|(_, texts)| texts);
    if let Some(entry) = entry.filter(|_| all().count() > 1) {
        let reason = "OnUnitInactiveSec= counts from the end of the last run, and such a schedule stands alone here: write a timer \
                      of its own for it";
        return Err((entry.place.clone(), reason.to_owned()));
    }
    if out.is_empty() {
        let reason = "it has no OnCalendar=, OnUnitActiveSec= or OnUnitInactiveSec=: leave what runs at the start of a machine to systemd, or write \
                      `every`";
        return Err((timer.shown.clone(), reason.to_owned()));
    }
    Ok(out)
}

fn length(entry: &Entry) -> Result<String, Refused> {
    let wrong = |reason: String| (entry.place.clone(), reason);
    match span(&entry.value).map_err(wrong)? {
        Some(long) if long >= Duration::from_millis(1) => Ok(format_duration(long)),
        _ => {
            let reason = format!(
                "`{}` is no length of time to repeat after",
                shown(&entry.value)
            );
            Err(wrong(reason))
        }
    }
}

fn jitter(timer: &Unit, remarks: &mut Remarks) -> Result<Option<String>, Refused> {
    let delay = timer.last(SECTION, "RandomizedDelaySec");
    let Some(entry) = delay.or_else(|| timer.last(SECTION, "RandomizedOffsetSec")) else {
        return Ok(None);
    };
    let long = span(&entry.value).map_err(|e| (entry.place.clone(), e))?;
    let Some(long) = long.filter(|long| long.as_millis() > 0) else {
        return Ok(None);
    };
    if timer.last(SECTION, "OnUnitInactiveSec").is_some() {
        let remark = format!(
            "{}= is dropped: what begins with the end of a run has no instant that others share",
            entry.key
        );
        remarks.say(&entry.place, &remark);
        return Ok(None);
    }
    let fixed = timer.is_on(SECTION, "FixedRandomDelay") || entry.key == "RandomizedOffsetSec";
    if !fixed {
        let remark = format!(
            "{}= is jitter here: each task has a place of its own in it, the same every time",
            entry.key
        );
        remarks.say(&entry.place, &remark);
    }
    Ok(Some(format_duration(long)))
}

/// Keys that are read here, in `[Timer]`.
const READ: [&str; 12] = [
    "OnCalendar",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnActiveSec",
    "RandomizedDelaySec",
    "RandomizedOffsetSec",
    "FixedRandomDelay",
    "Persistent",
    "Unit",
    "AccuracySec",
];

fn say_dropped(timer: &Unit, remarks: &mut Remarks) {
    for entry in timer.entries.iter().filter(|e| e.section == SECTION) {
        let key = entry.key.as_str();
        if key == "AccuracySec" {
            let remark = "AccuracySec= is dropped: runs start at their instant";
            remarks.say(&entry.place, remark);
        } else if !READ.contains(&key) {
            let remark = format!("{key}= is dropped: a cluster has nothing like it");
            remarks.say(&entry.place, &remark);
        }
    }
    say_conditions(timer, remarks);
}

/// What of `[Unit]` would keep a unit from being started, or start others.
fn say_conditions(unit: &Unit, remarks: &mut Remarks) {
    let silent = ["Description", "Documentation", "StartLimitBurst"];
    let of_unit = unit.entries.iter().filter(|e| e.section == "Unit");
    for entry in of_unit.filter(|e| !silent.contains(&e.key.as_str())) {
        let remark = format!(
            "{}= is dropped: a task depends on no unit, let the program look for itself",
            shown(&entry.key)
        );
        remarks.say(&entry.place, &remark);
    }
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
mod tests;
