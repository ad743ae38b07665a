//! What `doctor` finds on this machine alone: the address, the token, the programs and who may read which file.

use super::Finding;
use crate::config::Settings;
use crate::modes::{self, OfDatabase};
use crate::programs::{self, Host, Programs};
use crate::token;
use crate::token::file::Owner;

/// What this machine can tell alone.
pub(super) fn local(settings: &Settings) -> Vec<Finding> {
    let mut out = Vec::new();
    out.push(match std::net::TcpListener::bind(settings.http.listen) {
        Ok(_) => Finding::ok("listen", format!("{} is free", settings.http.listen)),
        Err(error) => Finding::warning(
            "listen",
            format!("{} can't be had ({error}): fine if this node runs already, else set `listen` to another port", settings.http.listen),
        ),
    });
    if settings.node.roles.api {
        out.push(token_of(settings));
    }
    out.extend(programs(settings));
    out
}

/// Which programs tasks may start here, and what contains them.
fn programs(settings: &Settings) -> Vec<Finding> {
    let mut out = Vec::new();
    for entry in &settings.node.allow_commands {
        if !entry.is_any() && !std::path::Path::new(entry.program()).exists() {
            let text = format!(
                "`{}` of allow_commands is not on this machine",
                entry.program()
            );
            out.push(Finding::warning("commands", text));
        }
        out.extend(programs::too_wide(entry).map(|text| Finding::warning("commands", text)));
    }
    match Programs::of(settings, &Host::Own) {
        Err(message) => out.push(Finding::failed("commands", message)),
        Ok(programs) => {
            out.extend(programs.containment().map(|(good, text)| match good {
                true => Finding::ok("commands", text),
                false => Finding::warning("commands", text),
            }));
            if let Some(cells) = programs.options.cells {
                cells.close();
            }
        }
    }
    if settings.node.roles.worker {
        let said = crate::config::look_over(&settings.node.secrets).into_iter();
        out.extend(said.map(|(usable, text)| match usable {
            true => Finding::ok("secrets", text),
            false => Finding::warning("secrets", text),
        }));
    }
    out
}

fn token_of(settings: &Settings) -> Finding {
    if settings.http.token.is_some() {
        return Finding::ok("token", "configured");
    }
    if let Some(path) = &settings.http.token_file {
        return Finding::ok("token", format!("in {}", path.display()));
    }
    match token::file_of(settings.cluster.store.reveal()) {
        Some(path) if path.exists() => match token::file::read(&path, Owner::Us) {
            Ok(_) => Finding::ok("token", format!("in {}", path.display())),
            Err(error) => Finding::failed("token", error.to_string()),
        },
        Some(path) => Finding::ok(
            "token",
            format!("the first start makes one, in {}", path.display()),
        ),
        None => Finding::failed(
            "token",
            "role `api` needs one: set `token_file`, or `token` (CAMPANILE_TOKEN)",
        ),
    }
}

/// Who may read and change the files that the node's safety rests on.
pub(super) fn files(settings: &Settings) -> Vec<Finding> {
    let mut out = Vec::new();
    if let Some(path) = modes::database(settings.cluster.store.reveal()).filter(|p| p.exists()) {
        let faults = modes::of_database(&path);
        if faults.is_empty() {
            let text = format!("{} is not open to every user", path.display());
            out.push(Finding::ok("files", text));
        }
        out.extend(faults.into_iter().map(|fault| match fault {
            OfDatabase::Writable(text) => Finding::failed("files", text),
            OfDatabase::Readable(text) => Finding::warning("files", text),
        }));
    }
    if let Some((_, key)) = &settings.http.tls {
        out.push(match modes::of_key(key) {
            None => Finding::ok(
                "files",
                format!("{} is not open to every user", key.display()),
            ),
            Some(text) => Finding::warning("files", text),
        });
    }
    out
}
