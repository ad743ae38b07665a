//! `token`: the token of this machine's node, shown or renewed where it is kept. Asks no service.

use std::path::PathBuf;

use campanile::system::Random;
use serde_json::json;

use super::Failure;
use super::args::Token;
use super::doctor;
use super::out::Out;
use super::serve;
use crate::config::{Environment, Settings};
use crate::token::{self, file::Owner};

/// `token`
pub fn run(verb: Token, environment: &Environment, out: Out) -> Result<(), Failure> {
    match verb {
        Token::Show(args) => {
            let (settings, ..) = doctor::settings(args, environment)?;
            let (path, owner) = place(&settings)?;
            let held =
                token::file::read(&path, owner).map_err(|e| Failure::Failed(e.to_string()))?;
            out.show(
                &json!({ "token": held.first(), "file": path.display().to_string() }),
                |out, _| out.line(held.first()),
            );
            if owner == Owner::Us {
                serve::seen(&path);
            }
        }
        Token::New(args) => {
            let (settings, ..) = doctor::settings(args, environment)?;
            let (path, owner) = place(&settings)?;
            let new = token::file::renew(&path, owner, &Random::from_system())
                .map_err(|e| Failure::Failed(e.to_string()))?;
            out.show(
                &json!({ "token": new, "file": path.display().to_string() }),
                |out, _| out.line(&new),
            );
            out.remark(format!(
                "It is the first in {}, and the old one stays valid behind it. Send the nodes SIGHUP (or start them anew), \
                 give clients the new one, then delete the old one's line and send SIGHUP again.",
                path.display()
            ));
        }
    }
    Ok(())
}

/// The file that holds the token.
fn place(settings: &Settings) -> Result<(PathBuf, Owner), Failure> {
    if settings.http.token.is_some() {
        let text = "the token is set by `token` (CAMPANILE_TOKEN), and kept in no file: `campanile config check` tells where; \
                    `token_file` can hold two, so that it can be changed while the cluster runs";
        return Err(Failure::Usage(text.to_owned()));
    }
    if let Some(path) = &settings.http.token_file {
        return Ok((path.clone(), Owner::Anybody));
    }
    let Some(path) = token::file_of(settings.cluster.store.reveal()) else {
        return Err(Failure::Usage(token::Error::Missing.to_string()));
    };
    if !path.exists() {
        return Err(Failure::Failed(format!(
            "there is no token yet: the first start of the node makes one, in {}",
            path.display()
        )));
    }
    Ok((path, Owner::Us))
}
