//! `token`: the token of this machine's node, shown or renewed where it is kept, which asks no service; and API tokens,
//! which the service makes, lists and revokes.

use std::path::PathBuf;

use campanile_core::system::Random;
use campanile_schedule::time::Timestamp;
use serde_json::json;

use super::Failure;
use super::args::{Token, TokenCreate};
use super::client::Client;
use super::doctor;
use super::out::Out;
use super::serve;
use crate::api::model::Page;
use crate::api::tokens::{Made, Token as Kept, TokenBody};
use crate::config::{Environment, Settings};
use crate::token::{self, file::Owner};

/// `token`
pub async fn run(
    verb: Token,
    environment: &Environment,
    client: impl Fn() -> Result<Client, Failure>,
    out: Out,
) -> Result<(), Failure> {
    match verb {
        Token::Create(create) => return make(&client()?, create, out).await,
        Token::List => return list(&client()?, out).await,
        Token::Revoke { name } => {
            client()?.delete(&format!("/tokens/{name}")).await?;
            out.remark(format!(
                "token `{name}` is revoked: on this node at once, on others within five seconds"
            ));
        }
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
                "It is the first in {}, and the old one stays valid behind it. Send the nodes SIGHUP (or start them again), \
                 give clients the new one, then delete the old one's line and send SIGHUP again.",
                path.display()
            ));
        }
    }
    Ok(())
}

async fn make(client: &Client, create: TokenCreate, out: Out) -> Result<(), Failure> {
    let expires_at = create.expires_at.as_deref().map(|text| {
        Timestamp::parse(text).map_err(|e| Failure::Usage(format!("--expires-at: {e}")))
    });
    let body = TokenBody {
        name: create.name,
        role: create.role,
        data: create.data,
        scope: create.scopes,
        expires_at: expires_at.transpose()?,
    };
    let made: Made = client.post("/tokens", &body).await?;
    out.show(&made, |out, made| out.line(&made.token));
    out.remark("It is shown this once: of it only a digest is kept.");
    Ok(())
}

async fn list(client: &Client, out: Out) -> Result<(), Failure> {
    let tokens: Page<Kept> = client.get("/tokens").await?;
    out.show(&tokens, |out, tokens| {
        let names = [
            "name", "role", "data", "scope", "expires", "last use", "revoked",
        ];
        let at = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let row = |token: &Kept| {
            let scope = match token.scope.is_empty() {
                true => "everywhere".to_owned(),
                false => token.scope.join(", "),
            };
            vec![
                token.name.clone(),
                token.role.clone(),
                if token.data { "yes" } else { "no" }.to_owned(),
                scope,
                at(token.expires_at),
                at(token.used_at),
                at(token.revoked_at),
            ]
        };
        out.table(&names, tokens.items.iter().map(row).collect());
    });
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
