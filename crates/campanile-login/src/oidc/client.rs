//! The flow itself: where the browser goes, and who came back. Owns what is kept of the provider (its document and its
//! keys, for an hour) and how often it is asked: whoever sends forged tokens can't make us ask it all the time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use campanile_core::port::clock::Clock;
use campanile_core::time::Monotonic;
use campanile_schedule::time::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::token::{Expected, Invalid, verify};
use super::{Attempt, Error, Fetch, Fetched, Form, Identity, Keys, Provider, shown};

/// How long the provider's document and keys are kept.
const KEPT: Duration = Duration::from_secs(3_600);
/// How soon its keys may be asked for again because a token names one that we don't know.
const REFETCH_MIN: Duration = Duration::from_secs(30);
/// Logins that are remembered as finished, so that none is finished twice.
const SPENT_MAX: usize = 10_000;
/// The longest code, state and so on that come back.
const PART_BYTES_MAX: usize = 4_000;
/// From so much on the provider's clock and ours are told to be apart.
pub const SKEW_MAX: Duration = Duration::from_secs(30);

/// The provider, and what we are to it.
#[derive(Clone)]
pub struct Endpoint {
    pub issuer: String,
    pub client_id: String,
    /// None = a public client, whose proof is PKCE alone.
    pub client_secret: Option<String>,
    pub scopes: Vec<String>,
    /// Where the browser comes back to, character by character as the provider knows it.
    pub redirect_uri: String,
    /// The claim that holds what people call somebody.
    pub user_claim: String,
    /// The claim that holds his groups.
    pub groups_claim: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}, {})", self.issuer, self.client_id)
    }
}

/// What the browser brings back.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Callback {
    pub code: Option<String>,
    pub state: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

/// A client of one provider. Share it as `Arc<Client>`.
pub struct Client {
    endpoint: Endpoint,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    cache: Mutex<Cache>,
    spent: StdMutex<VecDeque<[u8; 32]>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.endpoint.fmt(f)
    }
}

#[derive(Default)]
struct Cache {
    provider: Option<(Arc<Provider>, Monotonic)>,
    keys: Option<(Arc<Keys>, Monotonic)>,
}

impl Client {
    #[must_use]
    pub fn new(endpoint: Endpoint, fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self {
            endpoint,
            fetch,
            clock,
            cache: Mutex::default(),
            spent: StdMutex::default(),
        }
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.endpoint.issuer
    }

    /// Where the browser of this login goes.
    ///
    /// # Errors
    /// The provider can't be reached, or is not the one of the settings.
    pub async fn address(&self, attempt: &Attempt) -> Result<String, Error> {
        let provider = self.provider().await?;
        let mut url = Url::parse(&provider.authorization_endpoint).map_err(|e| {
            Error::Unreachable(format!("its `authorization_endpoint` is no address ({e})"))
        })?;
        let issuer = self.issuer();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.endpoint.client_id)
            .append_pair("redirect_uri", &self.endpoint.redirect_uri)
            .append_pair("scope", &self.endpoint.scopes.join(" "))
            .append_pair("state", &attempt.state(issuer))
            .append_pair("nonce", &attempt.nonce(issuer))
            .append_pair("code_challenge", &attempt.challenge(issuer))
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Who came back. `attempt` is the login that this browser's cookie holds, if it holds one.
    ///
    /// # Errors
    /// He is not let in, and why.
    pub async fn finish(
        &self,
        attempt: Option<&Attempt>,
        callback: &Callback,
        now: Timestamp,
    ) -> Result<Identity, Error> {
        let attempt = self.belongs(attempt, callback, now)?;
        let provider = self.provider().await?;
        check_issuer(&provider, callback)?;
        if let Some(error) = &callback.error {
            let why = callback.error_description.as_deref().unwrap_or(error);
            return Err(Error::Refused(shown(why)));
        }
        let Some(code) = callback
            .code
            .as_deref()
            .filter(|c| !c.is_empty() && c.len() <= PART_BYTES_MAX)
        else {
            return Err(Error::Refused("nothing: it sent no code".to_owned()));
        };
        self.spend(attempt)?;
        let token = self
            .exchange(&provider, code, &attempt.verifier(self.issuer()))
            .await?;
        self.believe(&provider, &token, &attempt.nonce(self.issuer()), now)
            .await
    }

    /// How far the provider's clock is ahead of ours, in milliseconds, where it says; and that it and its keys can be had.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<(usize, Option<i64>), Error> {
        let (answer, asked_ms) = (
            self.get(&Provider::document(self.issuer())).await?,
            self.clock.now().as_ms(),
        );
        let provider = Provider::read(&answer.body, self.issuer())?;
        let keys = self.read_keys(&provider).await?;
        Ok((keys.len(), answer.date_ms.map(|date| date - asked_ms)))
    }

    /// The attempt, if what came back is its answer.
    fn belongs<'a>(
        &self,
        attempt: Option<&'a Attempt>,
        callback: &Callback,
        now: Timestamp,
    ) -> Result<&'a Attempt, Error> {
        let attempt = attempt.ok_or(Error::NotBegun(
            "it has begun none, or its cookies are switched off",
        ))?;
        let state = callback.state.as_deref().unwrap_or_default();
        if state.len() > PART_BYTES_MAX || !attempt.is_of(state, self.issuer()) {
            return Err(Error::NotBegun("it is the answer to another one"));
        }
        if !attempt.is_open(now) {
            return Err(Error::NotBegun("it took longer than ten minutes"));
        }
        Ok(attempt)
    }

    /// Uses an attempt up.
    fn spend(&self, attempt: &Attempt) -> Result<(), Error> {
        let mark = attempt.mark();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.contains(&mark) {
            return Err(Error::NotBegun("it was finished before"));
        }
        if spent.len() >= SPENT_MAX {
            spent.pop_front();
        }
        spent.push_back(mark);
        Ok(())
    }

    async fn exchange(
        &self,
        provider: &Provider,
        code: &str,
        verifier: &str,
    ) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: Option<String>,
            error: Option<String>,
        }
        let endpoint = &self.endpoint;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &endpoint.redirect_uri),
            ("code_verifier", verifier),
        ];
        let mut authorization = None;
        match &endpoint.client_secret {
            Some(secret) if !provider.wants_secret_in_form() => {
                authorization = Some(basic(&endpoint.client_id, secret));
            }
            Some(secret) => fields.extend([
                ("client_id", endpoint.client_id.as_str()),
                ("client_secret", secret),
            ]),
            None => fields.push(("client_id", &endpoint.client_id)),
        }
        let form = Form {
            url: &provider.token_endpoint,
            fields,
            authorization,
        };
        let answer = self.fetch.post(form).await.map_err(Error::Unreachable)?;
        let read: Result<Tokens, _> = serde_json::from_slice(&answer.body);
        match read {
            Ok(Tokens {
                error: Some(error), ..
            }) => Err(Error::Refused(shown(&error))),
            Ok(Tokens {
                id_token: Some(token),
                ..
            }) if answer.status == 200 => Ok(token),
            Ok(_) if answer.status == 200 => Err(Error::Unbelievable(
                "it gave no id token: is `openid` among the scopes?".to_owned(),
            )),
            _ => Err(Error::Unreachable(format!(
                "it answered {} where tokens are given",
                answer.status
            ))),
        }
    }

    async fn believe(
        &self,
        provider: &Provider,
        token: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Identity, Error> {
        let expected = Expected {
            issuer: self.issuer(),
            client_id: &self.endpoint.client_id,
            nonce,
            now,
        };
        let mut verdict = verify(token, &*self.keys(provider, KEPT).await?, &expected);
        if verdict.as_ref().err() == Some(&Invalid::UnknownKey) {
            verdict = verify(token, &*self.keys(provider, REFETCH_MIN).await?, &expected);
        }
        let claims = verdict.map_err(|why| Error::Unbelievable(why.to_string()))?;
        let endpoint = &self.endpoint;
        Ok(claims.identity(&endpoint.user_claim, &endpoint.groups_claim))
    }

    /// The provider's document, at most an hour old; an older one, where there is no newer.
    async fn provider(&self) -> Result<Arc<Provider>, Error> {
        let mut cache = self.cache.lock().await;
        let now = self.clock.monotonic();
        if let Some((provider, at)) = &cache.provider
            && now.since(*at) < KEPT
        {
            return Ok(Arc::clone(provider));
        }
        let fresh = match self.get(&Provider::document(self.issuer())).await {
            Ok(answer) => Provider::read(&answer.body, self.issuer()),
            Err(error) => Err(error),
        };
        match (fresh, &cache.provider) {
            (Ok(provider), _) => {
                let provider = Arc::new(provider);
                cache.provider = Some((Arc::clone(&provider), now));
                Ok(provider)
            }
            (Err(error), Some((provider, _))) => {
                tracing::warn!(%error, "the identity provider's document can't be read again; the last one is used");
                Ok(Arc::clone(provider))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The provider's keys, at most so old.
    async fn keys(&self, provider: &Provider, age: Duration) -> Result<Arc<Keys>, Error> {
        let mut cache = self.cache.lock().await;
        let now = self.clock.monotonic();
        if let Some((keys, at)) = &cache.keys
            && now.since(*at) < age
        {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(self.read_keys(provider).await?);
        cache.keys = Some((Arc::clone(&keys), now));
        Ok(keys)
    }

    async fn read_keys(&self, provider: &Provider) -> Result<Keys, Error> {
        let answer = self.get(&provider.jwks_uri).await?;
        Keys::read(&answer.body).map_err(Error::Unreachable)
    }

    async fn get(&self, url: &str) -> Result<Fetched, Error> {
        let answer = self.fetch.get(url).await.map_err(Error::Unreachable)?;
        if answer.status != 200 {
            return Err(Error::Unreachable(format!(
                "it answered {} at {url}",
                answer.status
            )));
        }
        Ok(answer)
    }
}

/// Whether what came back is of this provider, where it says (RFC 9207).
fn check_issuer(provider: &Provider, callback: &Callback) -> Result<(), Error> {
    match callback.iss.as_deref() {
        Some(iss) if iss != provider.issuer => Err(Error::Unbelievable(format!(
            "the answer is of `{}`",
            shown(iss)
        ))),
        None if provider.names_itself() => Err(Error::Unbelievable(
            "the answer does not say of whom it is".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The header of a client with a secret (RFC 6749, 2.3.1): both parts are encoded as a form's are.
fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(client_id), encoded(secret));
    format!("Basic {}", STANDARD.encode(pair))
}
