//! The flow, from the address that the browser is sent to until it is known who came back, with everything that can come
//! back instead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::memory::clock::ManualClock;
use campanile_core::port::clock::Clock as _;
use campanile_core::system::Random;
use campanile_login::oidc::{Attempt, Callback, Client, Endpoint, Error, Fetch, Fetched, Form};
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};
use url::Url;

use crate::sham::{self, Sham};

const ISSUER: &str = "https://id.example";
const BACK: &str = "https://campanile.example/login/oidc/callback";

/// A provider without a network.
struct Provider {
    sham: Mutex<Sham>,
    document: Mutex<Value>,
    /// What each code is worth: claims beside the usual ones, and the challenge that was told.
    codes: Mutex<HashMap<String, (Value, String)>>,
    forms: Mutex<Vec<HashMap<String, String>>>,
    authorizations: Mutex<Vec<Option<String>>>,
    documents: AtomicUsize,
    keys: AtomicUsize,
    is_down: Mutex<bool>,
}

fn answer(status: u16, body: &Value) -> Result<Fetched, String> {
    Ok(Fetched {
        status,
        body: body.to_string().into_bytes(),
        date_ms: Some(1_790_000_005_000),
    })
}

#[async_trait]
impl Fetch for Provider {
    async fn get(&self, url: &str) -> Result<Fetched, String> {
        if *self.is_down.lock().unwrap() {
            return Err("no answer".to_owned());
        }
        if url.ends_with("/.well-known/openid-configuration") {
            self.documents.fetch_add(1, Ordering::Relaxed);
            return answer(200, &self.document.lock().unwrap());
        }
        assert_eq!(url, format!("{ISSUER}/keys"));
        self.keys.fetch_add(1, Ordering::Relaxed);
        answer(200, &self.sham.lock().unwrap().keys())
    }

    async fn post(&self, form: Form<'_>) -> Result<Fetched, String> {
        assert_eq!(form.url, format!("{ISSUER}/token"));
        let fields: HashMap<String, String> = form
            .fields
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        self.authorizations.lock().unwrap().push(form.authorization);
        self.forms.lock().unwrap().push(fields.clone());
        // As RFC 6749 demands, a code is good once; and as RFC 7636 does, with its verifier alone.
        let Some((claims, challenge)) = self.codes.lock().unwrap().remove(&fields["code"]) else {
            return answer(400, &json!({ "error": "invalid_grant" }));
        };
        use base64::Engine as _;
        let digest =
            ring::digest::digest(&ring::digest::SHA256, fields["code_verifier"].as_bytes());
        let told = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
        if told != challenge || fields["redirect_uri"] != BACK {
            return answer(400, &json!({ "error": "invalid_grant" }));
        }
        let token = match claims.get("raw") {
            Some(raw) => raw.as_str().unwrap().to_owned(),
            None => self.sham.lock().unwrap().token("RS256", &claims),
        };
        answer(
            200,
            &json!({ "id_token": token, "token_type": "Bearer", "access_token": "x" }),
        )
    }
}

struct World {
    provider: Arc<Provider>,
    clock: Arc<ManualClock>,
    client: Client,
    random: Random,
}

fn world() -> World {
    world_with(|_| {})
}

fn world_with(change: impl FnOnce(&mut Endpoint)) -> World {
    let provider = Arc::new(Provider {
        sham: Mutex::new(Sham::new("a")),
        document: Mutex::new(sham::document(ISSUER)),
        codes: Mutex::default(),
        forms: Mutex::default(),
        authorizations: Mutex::default(),
        documents: AtomicUsize::new(0),
        keys: AtomicUsize::new(0),
        is_down: Mutex::default(),
    });
    let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_790_000_000_000)));
    let mut endpoint = Endpoint {
        issuer: ISSUER.to_owned(),
        client_id: "campanile".to_owned(),
        client_secret: Some("s e:cret".to_owned()),
        scopes: vec!["openid".to_owned(), "groups".to_owned()],
        redirect_uri: BACK.to_owned(),
        user_claim: "preferred_username".to_owned(),
        groups_claim: "groups".to_owned(),
    };
    change(&mut endpoint);
    let client = Client::new(endpoint, provider.clone(), clock.clone());
    World {
        provider,
        clock,
        client,
        random: Random::from_seed(9),
    }
}

/// The parameters of an address.
fn query(address: &str) -> HashMap<String, String> {
    Url::parse(address)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect()
}

impl World {
    fn begin(&self) -> Attempt {
        Attempt::begin(&self.random, self.clock.now(), "/tasks")
    }

    /// The browser goes to the provider and comes back with a code; the token says what is usual, changed by `change`.
    async fn back(
        &self,
        attempt: &Attempt,
        code: &str,
        change: impl FnOnce(&mut Value),
    ) -> Callback {
        let asked = query(&self.client.address(attempt).await.unwrap());
        let now_s = self.clock.now().as_ms() / 1_000;
        let mut claims = json!({
            "iss": ISSUER, "sub": "7", "aud": "campanile", "exp": now_s + 300, "iat": now_s,
            "nonce": asked["nonce"], "preferred_username": "ada", "groups": ["ops"],
        });
        change(&mut claims);
        let worth = (claims, asked["code_challenge"].clone());
        self.provider
            .codes
            .lock()
            .unwrap()
            .insert(code.to_owned(), worth);
        Callback {
            code: Some(code.to_owned()),
            state: Some(asked["state"].clone()),
            iss: Some(ISSUER.to_owned()),
            ..Callback::default()
        }
    }

    async fn finish(&self, attempt: Option<&Attempt>, back: &Callback) -> Result<String, Error> {
        let who = self.client.finish(attempt, back, self.clock.now()).await;
        who.map(|who| who.name)
    }
}

#[tokio::test]
async fn who_logs_in_is_known() {
    let world = world();
    let attempt = world.begin();
    let address = world.client.address(&attempt).await.unwrap();
    let asked = query(&address);
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "campanile"),
        ("redirect_uri", BACK),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked[name], value);
    }
    // What the browser keeps to itself is in no address.
    assert!(!address.contains(attempt.cookie()) && !address.contains(&attempt.verifier(ISSUER)));
    let back = world.back(&attempt, "c1", |_| {}).await;
    assert_eq!(
        world.finish(Some(&attempt), &back).await.as_deref(),
        Ok("ada")
    );
    let form = world.provider.forms.lock().unwrap()[0].clone();
    assert_eq!(
        (form["grant_type"].as_str(), form["code"].as_str()),
        ("authorization_code", "c1")
    );
    assert!(!form.contains_key("client_secret"));
    // campanile:s+e%3Acret
    let sent = world.provider.authorizations.lock().unwrap()[0].clone();
    assert_eq!(sent.as_deref(), Some("Basic Y2FtcGFuaWxlOnMrZSUzQWNyZXQ="));
}

#[tokio::test]
async fn a_secret_goes_where_the_provider_takes_it() {
    let world = world_with(|endpoint| endpoint.client_secret = None);
    let attempt = world.begin();
    let back = world.back(&attempt, "c", |_| {}).await;
    world.finish(Some(&attempt), &back).await.unwrap();
    let form = world.provider.forms.lock().unwrap()[0].clone();
    assert_eq!(form["client_id"], "campanile");
    assert!(
        !form.contains_key("client_secret")
            && world.provider.authorizations.lock().unwrap()[0].is_none()
    );
    let world = self::world();
    world.provider.document.lock().unwrap()["token_endpoint_auth_methods_supported"] =
        json!(["client_secret_post"]);
    let attempt = world.begin();
    let back = world.back(&attempt, "c", |_| {}).await;
    world.finish(Some(&attempt), &back).await.unwrap();
    assert_eq!(
        world.provider.forms.lock().unwrap()[0]["client_secret"],
        "s e:cret"
    );
}

#[tokio::test]
async fn what_a_stranger_brings_back_lets_nobody_in() {
    let world = world();
    let (victim, attacker) = (world.begin(), world.begin());
    let his = world.back(&attacker, "his", |_| {}).await;
    // Login CSRF: the attacker's code in the victim's browser, which began nothing, or something else.
    assert!(matches!(
        world.finish(None, &his).await,
        Err(Error::NotBegun(_))
    ));
    assert!(matches!(
        world.finish(Some(&victim), &his).await,
        Err(Error::NotBegun(_))
    ));
    // His code under the victim's state: the challenge is not the victim's.
    let swapped = Callback {
        state: Some(victim.state(ISSUER)),
        ..his.clone()
    };
    assert!(matches!(
        world.finish(Some(&victim), &swapped).await,
        Err(Error::Refused(_))
    ));
    // Mix-up: the answer of another provider, and one that does not say of whom it is.
    for iss in [Some("https://evil.example".to_owned()), None] {
        let attempt = world.begin();
        let mixed = Callback {
            iss,
            ..world.back(&attempt, "mixed", |_| {}).await
        };
        let refused = world.finish(Some(&attempt), &mixed).await;
        assert!(
            matches!(refused, Err(Error::Unbelievable(_))),
            "{refused:?}"
        );
    }
    // Nothing of this was worth a code's exchange but the one that PKCE refused.
    assert_eq!(world.provider.forms.lock().unwrap().len(), 1);
    for state in [None, Some(String::new()), Some("x".repeat(9_000))] {
        let attempt = world.begin();
        let odd = Callback {
            state,
            ..world.back(&attempt, "odd", |_| {}).await
        };
        assert!(matches!(
            world.finish(Some(&attempt), &odd).await,
            Err(Error::NotBegun(_))
        ));
    }
}

#[tokio::test]
async fn a_login_is_finished_once_and_in_time() {
    let world = world();
    let attempt = world.begin();
    let back = world.back(&attempt, "c", |_| {}).await;
    world.finish(Some(&attempt), &back).await.unwrap();
    // The provider would take the code again: we don't bring it.
    let again = world.back(&attempt, "c", |_| {}).await;
    let refused = world.finish(Some(&attempt), &again).await;
    assert_eq!(refused, Err(Error::NotBegun("it was finished before")));
    // In another browser's login, the provider says no.
    let other = world.begin();
    let fresh = world.back(&other, "d", |_| {}).await;
    world.provider.codes.lock().unwrap().clear();
    assert_eq!(
        world.finish(Some(&other), &fresh).await,
        Err(Error::Refused("invalid_grant".to_owned()))
    );
    let late = world.begin();
    let back = world.back(&late, "e", |_| {}).await;
    world.clock.advance(Duration::from_secs(601));
    assert!(matches!(
        world.finish(Some(&late), &back).await,
        Err(Error::NotBegun(_))
    ));
}

/// What is changed in a token's claims.
type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;

#[tokio::test]
async fn a_token_of_another_login_lets_nobody_in() {
    let sham = Sham::new("b");
    let changes: [(&str, Change<'_>); 6] = [
        ("nonce", Box::new(|claims| claims["nonce"] = "x".into())),
        ("aud", Box::new(|claims| claims["aud"] = "other".into())),
        ("exp", Box::new(|claims| claims["exp"] = 1.into())),
        (
            "iss",
            Box::new(|claims| claims["iss"] = "https://evil.example".into()),
        ),
        (
            "none",
            Box::new(|claims| claims["raw"] = sham.token_by("none", None, &claims.clone()).into()),
        ),
        (
            "hmac",
            Box::new(|claims| {
                claims["raw"] = sham.token_by("HS256", Some("a-RS"), &claims.clone()).into();
            }),
        ),
    ];
    for (what, change) in changes {
        let world = world();
        let attempt = world.begin();
        let back = world.back(&attempt, "c", change).await;
        let refused = world.finish(Some(&attempt), &back).await;
        assert!(
            matches!(refused, Err(Error::Unbelievable(_))),
            "{what}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn new_keys_are_asked_for_and_not_all_the_time() {
    let world = world();
    let log_in = async |code: &str| {
        let attempt = world.begin();
        let back = world.back(&attempt, code, |_| {}).await;
        world.finish(Some(&attempt), &back).await
    };
    log_in("1").await.unwrap();
    log_in("2").await.unwrap();
    let asked = || {
        (
            world.provider.documents.load(Ordering::Relaxed),
            world.provider.keys.load(Ordering::Relaxed),
        )
    };
    assert_eq!(asked(), (1, 1));
    // The provider has new keys: too soon after the last look they are not asked for.
    *world.provider.sham.lock().unwrap() = Sham::new("new");
    assert!(matches!(log_in("3").await, Err(Error::Unbelievable(_))));
    assert_eq!(asked(), (1, 1));
    world.clock.advance(Duration::from_secs(31));
    log_in("4").await.unwrap();
    assert_eq!(asked(), (1, 2));
    // Forged names of keys make us ask once in that time, however many come.
    world.clock.advance(Duration::from_secs(31));
    for at in 0..5 {
        let attempt = world.begin();
        let forged = |claims: &mut Value| {
            claims["raw"] = Sham::new("forged").token("ES256", &claims.clone()).into();
        };
        let back = world.back(&attempt, &format!("f{at}"), forged).await;
        world.finish(Some(&attempt), &back).await.unwrap_err();
    }
    assert_eq!(asked(), (1, 3));
    world.clock.advance(Duration::from_secs(3_601));
    log_in("5").await.unwrap();
    assert_eq!(asked(), (2, 4));
}

#[tokio::test]
async fn a_provider_that_is_down_is_told_and_an_old_document_serves() {
    let world = world();
    *world.provider.is_down.lock().unwrap() = true;
    assert!(matches!(
        world.client.address(&world.begin()).await,
        Err(Error::Unreachable(_))
    ));
    *world.provider.is_down.lock().unwrap() = false;
    world.client.address(&world.begin()).await.unwrap();
    world.clock.advance(Duration::from_secs(4_000));
    *world.provider.is_down.lock().unwrap() = true;
    world.client.address(&world.begin()).await.unwrap();
    *world.provider.is_down.lock().unwrap() = false;
    let (keys, ahead_ms) = world.client.probe().await.unwrap();
    // The provider's clock stands, and ours went on.
    assert_eq!((keys, ahead_ms), (3, Some(5_000 - 4_000_000)));
    world.provider.document.lock().unwrap()["issuer"] = "https://other.example".into();
    assert!(
        world
            .client
            .probe()
            .await
            .unwrap_err()
            .to_string()
            .contains("character by character")
    );
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_in_one_line() {
    let world = world();
    let attempt = world.begin();
    let state = query(&world.client.address(&attempt).await.unwrap())["state"].clone();
    let back = Callback {
        state: Some(state),
        iss: Some(ISSUER.to_owned()),
        error: Some("access_denied".to_owned()),
        error_description: Some(format!("no\r\nSet-Cookie: x {}", "y".repeat(900))),
        code: None,
    };
    let Err(Error::Refused(told)) = world.finish(Some(&attempt), &back).await else {
        panic!();
    };
    assert!(
        told.len() <= 200 && told.starts_with("no??Set-Cookie"),
        "{told}"
    );
}
