//! The files of systemd's units: those that are named, those of folders, the services beside timers, and drop-ins. Each is
//! bounded before it is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::Failure;
use super::read;
use super::systemd::unit::{UNIT_BYTES_MAX, Unit};

/// Units of one import, and drop-ins of one unit.
const UNITS_MAX: usize = 2_000;

/// Reads units.
pub(super) fn gather(paths: &[PathBuf]) -> Result<Vec<Unit>, Failure> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in paths {
        if path.is_dir() {
            for file in files_of(path, &["timer", "service"])? {
                put(&mut found, &file, UNITS_MAX)?;
            }
        } else {
            put(&mut found, path, UNITS_MAX)?;
        }
    }
    let mut units = Vec::with_capacity(found.len());
    for path in found.values() {
        units.push(unit(path)?);
    }
    // The services of timers that were named by themselves.
    let timers = units.iter().filter(|unit| unit.name.ends_with(".timer"));
    let started: Vec<(String, String)> = timers
        .map(|timer| (timer.name.clone(), timer.starts()))
        .collect();
    for (timer, service) in started {
        let folder = found.get(&timer).and_then(|path| path.parent());
        let Some(path) = folder.map(|folder| folder.join(&service)) else {
            continue;
        };
        let plain = !service.contains('/') && !found.contains_key(&service);
        if plain && path.is_file() {
            put(&mut found, &path, UNITS_MAX)?;
            units.push(unit(&path)?);
        }
    }
    Ok(units)
}

fn put(found: &mut BTreeMap<String, PathBuf>, path: &Path, most: usize) -> Result<(), Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(Failure::Usage(format!("{} is no unit", path.display())));
    };
    if found.len() >= most {
        return Err(Failure::Usage(format!(
            "more than {most} units: name fewer folders"
        )));
    }
    found.insert(name.to_owned(), path.to_owned());
    Ok(())
}

fn unit(path: &Path) -> Result<Unit, Failure> {
    let shown = path.display().to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut unit = Unit::new(&name, &shown);
    unit.read(&shown, &text(path)?);
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    if folder.is_dir() {
        for file in files_of(&folder, &["conf"])? {
            unit.read(&file.display().to_string(), &text(&file)?);
        }
    }
    Ok(unit)
}

fn text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path, UNIT_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| {
        let path = path.display();
        Failure::Usage(format!("{path} is not UTF-8: save it as UTF-8"))
    })
}

/// The files of a folder with these endings, by name.
fn files_of(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let unread =
        |e: std::io::Error| Failure::Usage(format!("can't read {}: {e}", folder.display()));
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        let ending = path.extension().and_then(|e| e.to_str());
        if ending.is_some_and(|e| endings.contains(&e)) && path.is_file() {
            out.push(path);
        }
        if out.len() > UNITS_MAX {
            let folder = folder.display();
            return Err(Failure::Usage(format!(
                "{folder} has more than {UNITS_MAX} units: name them"
            )));
        }
    }
    out.sort();
    Ok(out)
}
