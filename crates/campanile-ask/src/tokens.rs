//! API tokens: made and shown once, listed, revoked; and who holds one that was presented. What was looked up is known for a
//! few seconds, so a token that is revoked lets nobody in after that; when one was used is written down once a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use campanile_access::audit::Deed;
use campanile_access::token::{self, ApiToken, TOKENS_MAX};
use campanile_access::{Right, Rights, Role, Scope};
use campanile_core::system;
use campanile_core::time::Monotonic;
use campanile_schedule::check_name;
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use crate::{Control, Editor, Error};

/// How long what was looked up is good for.
const KEPT: Duration = Duration::from_secs(5);
/// How many tokens are remembered, wrong ones included.
const KEPT_MAX: usize = 1_000;
/// How often a token's last use is written down.
const USE_PERIOD: Duration = Duration::from_secs(60);

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub name: String,
    pub role: Role,
    /// Whether its holder may see payloads, results and logs.
    pub data: bool,
    pub scope: Scope,
    pub expires_at: Option<Timestamp>,
}

/// What was looked up lately, by digest.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, Lookup>>);

#[derive(Debug, Clone)]
struct Lookup {
    at: Monotonic,
    token: Option<ApiToken>,
}

impl Known {
    fn get(&self, digest: &str, now: Monotonic) -> Option<Lookup> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(digest);
        found.filter(|found| now.since(found.at) < KEPT).cloned()
    }

    fn put(&self, digest: String, lookup: Lookup) {
        let now = lookup.at;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT_MAX {
            known.retain(|_, found| now.since(found.at) < KEPT);
        }
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(digest, lookup);
    }
}

impl Control {
    /// The API token that was presented, if it is one and lets its holder in.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn holder_of(&self, presented: &str) -> Result<Option<ApiToken>, Error> {
        if !token::is_token(presented) {
            return Ok(None);
        }
        let (digest, reading) = (token::digest(presented), self.parts.clock.monotonic());
        let found = match self.tokens.get(&digest, reading) {
            Some(known) => known.token,
            None => self.look_up(digest, reading).await?,
        };
        let now = self.now().await?;
        Ok(found.filter(|token| token.is_good(now)))
    }

    async fn look_up(&self, digest: String, at: Monotonic) -> Result<Option<ApiToken>, Error> {
        let token = self.parts.store.token_of(&digest).await?;
        self.tokens.put(
            digest,
            Lookup {
                at,
                token: token.clone(),
            },
        );
        let now = self.now().await?;
        if let Some(used) = token.clone().filter(|token| token.is_good(now))
            && used.used_at.is_none_or(|at| now.since(at) >= USE_PERIOD)
        {
            let store = Arc::clone(&self.parts.store);
            system::spawn(async move {
                if let Err(error) = store.use_token(&used.name, now).await {
                    tracing::debug!(%error, "a token's last use was not written down");
                }
            });
        }
        Ok(token)
    }
}

impl Editor {
    /// Makes a token, and answers it with its text, which is shown this once. Nobody gives more than he has.
    ///
    /// # Errors
    /// [`Error::Denied`]; a name or an end that can't be; [`Error::Conflict`] when a token of this name is in force, or
    /// there are too many.
    pub async fn create_token(&self, new: &NewToken) -> Result<(ApiToken, String), Error> {
        self.may_everywhere(Right::People, "a token")?;
        check_name("name", &new.name)?;
        let rights = Rights::of(new.role)
            .with_data(new.data)
            .within(new.scope.clone());
        if !self.actor.rights().cover(&rights) {
            let why = format!("can't give what it does not hold ({rights})");
            return Err(self.actor.denied(Right::People, why).into());
        }
        let now = self.now().await?;
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::invalid(
                "expires_at",
                "has passed: write an instant to come",
            ));
        }
        if self.parts.store.tokens().await?.len() >= TOKENS_MAX {
            return Err(Error::Conflict(format!(
                "there are {TOKENS_MAX} tokens, and no more are kept: give a new one the name of one that is over"
            )));
        }
        let text = token::of_bits(self.parts.random.secret());
        let token = ApiToken {
            name: new.name.clone(),
            rights,
            created_at: now,
            created_by: self.actor.identity(),
            expires_at: new.expires_at,
            used_at: None,
            revoked_at: None,
        };
        let deed = Deed::new("token.create", "token", &new.name);
        let by = self.actor.doing(deed.changing(Value::Null, told(&token)));
        let digest = token::digest(&text);
        let put = self
            .parts
            .store
            .put_token(&by, &token, &digest, now)
            .await?;
        if !put.is_applied() {
            return Err(Error::Conflict(format!(
                "a token `{0}` is in force: take another name, or revoke it first (`campanile token revoke {0}`)",
                new.name
            )));
        }
        Ok((token, text))
    }

    /// All tokens, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, Error> {
        self.may_everywhere(Right::People, "the list of tokens")?;
        Ok(self.parts.store.tokens().await?)
    }

    /// Lets a token in no more: here at once, on other nodes within seconds.
    ///
    /// # Errors
    /// [`Error::Denied`]; [`Error::NotFound`].
    pub async fn revoke_token(&self, name: &str) -> Result<(), Error> {
        self.may_everywhere(Right::People, "a token")?;
        let now = self.control.now().await?;
        let deed = Deed::new("token.revoke", "token", name);
        let by = self.actor.doing(deed);
        let revoked = self.parts.store.revoke_token(&by, name, now).await?;
        if !revoked.is_applied() {
            return Err(Error::NotFound {
                what: "token in force",
                name: name.to_owned(),
                remedy: "`campanile token list` shows the names",
            });
        }
        let mut known = self.tokens.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clear();
        Ok(())
    }
}

/// A token as the audit holds it.
fn told(token: &ApiToken) -> Value {
    json!({
        "role": token.rights.role(),
        "data": token.rights.data(),
        "scope": token.rights.scope(),
        "expires_at": token.expires_at,
    })
}
