//! People who come by an identity provider: at one of our own over real HTTP, honest and not, and at a foreign one where its
//! folder is named (`cargo xtask provider` does).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{get, post};
use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::sham::{self, Sham};
use crate::support::{Service, start};

/// Where browsers are said to find the service: it listens elsewhere, as behind something that stands in front.
pub const PUBLIC: &str = "http://127.0.0.1:9";
const SECRET: &str = "a-secret-between-the-two";

/// What a code is worth.
struct Code {
    claims: Value,
    challenge: String,
    redirect_uri: String,
}

/// A provider of our own.
struct Provider {
    url: String,
    sham: Sham,
    codes: Mutex<HashMap<String, Code>>,
    /// Whether a code is good more than once, which no provider may do.
    is_sloppy: bool,
}

type Shared = State<Arc<Provider>>;

async fn token(
    State(provider): Shared,
    headers: axum::http::HeaderMap,
    body: String,
) -> axum::response::Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    use base64::Engine as _;
    use sha2::Digest as _;
    let basic = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("campanile:{SECRET}"))
    );
    let refuse = |error: &str| {
        (
            axum::http::StatusCode::BAD_REQUEST,
            axum::Json(json!({ "error": error })),
        )
            .into_response()
    };
    if headers.get("authorization").and_then(|v| v.to_str().ok()) != Some(&basic) {
        return refuse("invalid_client");
    }
    let mut codes = provider.codes.lock().unwrap();
    let Some(code) = codes.get(&form["code"]) else {
        return refuse("invalid_grant");
    };
    let digest = sha2::Sha256::digest(form["code_verifier"].as_bytes());
    let told = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    if told != code.challenge || form["redirect_uri"] != code.redirect_uri {
        return refuse("invalid_grant");
    }
    let token = match code.claims.get("raw") {
        Some(raw) => raw.as_str().unwrap().to_owned(),
        None => provider.sham.token("ES256", &code.claims),
    };
    if !provider.is_sloppy {
        codes.remove(&form["code"]);
    }
    axum::Json(json!({ "id_token": token, "access_token": "x", "token_type": "Bearer" }))
        .into_response()
}

/// Where people log in: everybody is ada, of the ops.
async fn auth(State(provider): Shared, Query(asked): Query<HashMap<String, String>>) -> Redirect {
    let back = provider.grant(&asked, &json!({ "groups": ["ops"] }));
    Redirect::to(&back)
}

impl Provider {
    async fn start(is_sloppy: bool) -> Arc<Self> {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", tcp.local_addr().unwrap());
        let provider = Arc::new(Self {
            url,
            sham: Sham::new("ours"),
            codes: Mutex::default(),
            is_sloppy,
        });
        let document = async |State(provider): Shared| axum::Json(sham::document(&provider.url));
        let keys = async |State(provider): Shared| axum::Json(provider.sham.keys());
        let router = axum::Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/keys", get(keys))
            .route("/auth", get(auth))
            .route("/token", post(token))
            .with_state(Arc::clone(&provider));
        campanile_core::system::spawn(async move { axum::serve(tcp, router).await });
        provider
    }

    /// Lets somebody go back whose claims are the usual ones with these.
    fn grant(&self, asked: &HashMap<String, String>, claims: &Value) -> String {
        let now_s = campanile_core::system::wall_now().as_ms() / 1_000;
        let mut all = json!({
            "iss": self.url, "sub": "subject-7", "aud": "campanile", "exp": now_s + 300, "iat": now_s,
            "nonce": asked["nonce"], "preferred_username": "ada",
        });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        if let Some(by) = claims.get("by").and_then(Value::as_str) {
            all["raw"] = self
                .sham
                .token_by(by, Some(&self.sham.kid("RS256")), &all)
                .into();
        }
        let mut codes = self.codes.lock().unwrap();
        let code = format!("code-{}", codes.len());
        let challenge = asked["code_challenge"].clone();
        let redirect_uri = asked["redirect_uri"].clone();
        let back = format!(
            "{redirect_uri}?code={code}&state={}&iss={}",
            asked["state"], self.url
        );
        codes.insert(
            code,
            Code {
                claims: all,
                challenge,
                redirect_uri,
            },
        );
        back
    }
}

async fn service(issuer: &str) -> Service {
    start(&[
        ("public_url", PUBLIC),
        ("access_oidc_issuer", issuer),
        ("access_oidc_client_id", "campanile"),
        ("access_oidc_client_secret", SECRET),
        (
            "access_oidc_groups",
            "admins=admin+data,ops=operator@owner:finance",
        ),
    ])
    .await
}

fn browser(service: &Service) -> Browser {
    let mut browser = Browser::at(&service.url);
    browser.origin = PUBLIC.to_owned();
    browser
}

fn query(address: &str) -> HashMap<String, String> {
    reqwest::Url::parse(address)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect()
}

/// The way back, as the browser takes it where nothing stands in front.
fn here(back: &str) -> String {
    back.strip_prefix(PUBLIC)
        .unwrap_or_else(|| panic!("{back}"))
        .to_owned()
}

/// Off to the provider; answers what it was asked.
async fn leave(browser: &mut Browser) -> HashMap<String, String> {
    let page = browser.get("/login/oidc?next=/runs").await;
    assert_eq!(page.status, 303, "{}", page.text);
    query(&page.location.unwrap())
}

async fn is_in(browser: &mut Browser) -> bool {
    browser.get("/api/v1/me").await.status == 200
}

#[tokio::test]
async fn who_comes_back_from_the_provider_is_in_with_the_rights_of_his_group() {
    let provider = Provider::start(false).await;
    let service = service(&provider.url).await;
    let mut browser = browser(&service);
    let form = browser.get("/login?next=/runs").await;
    assert!(
        form.text
            .contains("href=\"/login/oidc?next=%2Fruns\">Log in with 127.0.0.1"),
        "{}",
        form.text
    );
    let off = browser.get("/login/oidc?next=/runs").await;
    let set = off
        .cookies
        .iter()
        .find(|line| line.starts_with("campanile-login="))
        .unwrap();
    assert!(
        set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Max-Age=600"),
        "{set}"
    );
    let at_provider = browser.get(&off.location.unwrap()).await;
    let back = browser.get(&here(&at_provider.location.unwrap())).await;
    assert_eq!(
        (back.status, back.location.as_deref()),
        (303, Some("/runs")),
        "{}",
        back.text
    );
    assert!(browser.cookie("campanile-login").is_none());
    let who = browser.get("/api/v1/me").await.json();
    assert_eq!(
        (&who["kind"], &who["name"]),
        (&json!("oidc"), &json!("ada"))
    );
    assert_eq!(
        who["rights"],
        json!({ "role": "operator", "data": false, "scope": ["owner:finance"] })
    );
    // A user of the same name is somebody else.
    let local = service.get("/users/ada").await;
    assert_eq!(local.status, 404);
    let page = browser.get("/login").await;
    browser
        .submit("/logout", &[("form", &page.field("form"))])
        .await;
    assert!(!is_in(&mut browser).await);
    service.stop().await;
}

#[tokio::test]
async fn what_is_not_the_answer_to_this_browsers_login_lets_nobody_in() {
    let provider = Provider::start(true).await;
    let service = service(&provider.url).await;
    let groups = json!({ "groups": ["admins"] });
    // Login CSRF: the attacker's way back, in a browser that began no login, and in one that began another.
    let mut attacker = browser(&service);
    let his = here(&provider.grant(&leave(&mut attacker).await, &groups));
    let mut victim = browser(&service);
    assert_eq!(victim.get(&his).await.status, 403);
    let own = leave(&mut victim).await;
    assert_eq!(victim.get(&his).await.status, 403);
    assert!(!is_in(&mut victim).await);
    // His code under the victim's state.
    let own_again = leave(&mut victim).await;
    assert_ne!(own["state"], own_again["state"]);
    let swapped = his.replacen(
        &query(&format!("{PUBLIC}{his}"))["state"],
        &own_again["state"],
        1,
    );
    assert_eq!(victim.get(&swapped).await.status, 403);
    assert!(!is_in(&mut victim).await);
    // Mix-up: an answer of another provider under this one's state.
    let asked = leave(&mut victim).await;
    let mixed =
        here(&provider.grant(&asked, &groups)).replacen("&iss=", "&iss=https://evil.example", 1);
    assert_eq!(victim.get(&mixed).await.status, 403);
    // One answer twice, at a provider that takes a code twice, with the cookie put back.
    let asked = leave(&mut victim).await;
    let cookie = victim.cookie("campanile-login").unwrap().clone();
    let back = here(&provider.grant(&asked, &groups));
    assert_eq!(victim.get(&back).await.status, 303);
    let mut thief = browser(&service);
    thief.put_cookie("campanile-login", &cookie);
    assert_eq!(thief.get(&back).await.status, 403);
    assert!(!is_in(&mut thief).await && is_in(&mut victim).await);
    service.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_for_this_login_lets_nobody_in() {
    let provider = Provider::start(false).await;
    let service = service(&provider.url).await;
    for (wrong, told) in [
        (json!({ "nonce": "x" }), "log says why"),
        (json!({ "aud": "other" }), "log says why"),
        (json!({ "exp": 1_000 }), "log says why"),
        (json!({ "iss": "https://evil.example" }), "log says why"),
        (json!({ "by": "none" }), "log says why"),
        (json!({ "by": "HS256" }), "log says why"),
        (json!({ "groups": [] }), "access_oidc_groups"),
        (
            json!({ "groups": ["Admins", "admins "] }),
            "access_oidc_groups",
        ),
        (json!({ "groups": null }), "access_oidc_groups"),
        (
            json!({ "groups": { "admins": true } }),
            "access_oidc_groups",
        ),
    ] {
        let mut browser = browser(&service);
        let mut claims = json!({ "groups": ["admins"] });
        for (name, value) in wrong.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let asked = leave(&mut browser).await;
        let page = browser.get(&here(&provider.grant(&asked, &claims))).await;
        assert_eq!(page.status, 403, "{wrong}: {}", page.text);
        assert!(page.text.contains(told), "{wrong}: {}", page.text);
        assert!(
            browser.cookie("campanile").is_none() && !is_in(&mut browser).await,
            "{wrong}"
        );
    }
    // What the provider says goes into the page as text.
    let mut browser = browser(&service);
    let asked = leave(&mut browser).await;
    let (state, url) = (&asked["state"], &provider.url);
    let said = browser
        .get(&format!(
            "/login/oidc/callback?error=%3Cb%3E&state={state}&iss={url}"
        ))
        .await;
    assert!(
        said.status == 403 && said.text.contains("&lt;b&gt;") && !said.text.contains("<b>"),
        "{}",
        said.text
    );
    service.stop().await;
}

#[tokio::test]
async fn without_a_provider_there_is_no_way_to_one() {
    let service = start(&[]).await;
    let mut browser = Browser::at(&service.url);
    assert_eq!(browser.get("/login/oidc").await.status, 404);
    assert_eq!(
        browser
            .get("/login/oidc/callback?code=x&state=y")
            .await
            .status,
        403
    );
    assert!(!browser.get("/login").await.text.contains("/login/oidc"));
    service.stop().await;
    // One that is down is told, and others get in meanwhile.
    let service = self::service("http://127.0.0.1:1").await;
    let mut browser = self::browser(&service);
    assert_eq!(browser.get("/login/oidc").await.status, 502);
    assert_eq!(browser.get("/login").await.status, 200);
    service.stop().await;
}

/// Drives a provider's own pages: from where it was entered until it sends the browser back.
async fn through(
    browser: &mut Browser,
    mut address: String,
    user: &str,
    count: &mut u64,
) -> String {
    let origin = reqwest::Url::parse(&address)
        .unwrap()
        .origin()
        .ascii_serialization();
    let absolute = |to: &str| {
        if to.starts_with('/') {
            format!("{origin}{to}")
        } else {
            to.to_owned()
        }
    };
    for _ in 0..20 {
        *count += 1;
        let page: Page = browser.get(&address).await;
        let to = match page.location {
            Some(to) => absolute(&to),
            None => {
                let action = page
                    .text
                    .split("action=\"")
                    .nth(1)
                    .unwrap_or_else(|| panic!("{}", page.text));
                let action = absolute(action.split('"').next().unwrap());
                let prompt = if page.text.contains("value=\"consent\"") {
                    "consent"
                } else {
                    "login"
                };
                let fields = [("prompt", prompt), ("login", user), ("password", "any")];
                let body = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(fields)
                    .finish();
                let kind = "application/x-www-form-urlencoded";
                let sent = browser
                    .send(Method::POST, &action, |r| {
                        r.header("content-type", kind).body(body)
                    })
                    .await;
                absolute(&sent.location.unwrap_or_else(|| panic!("{}", sent.text)))
            }
        };
        if to.starts_with(PUBLIC) {
            return to;
        }
        address = to;
    }
    panic!("the provider sends the browser around");
}

/// The address of a foreign provider, where `cargo xtask provider` started one.
#[expect(
    clippy::disallowed_methods,
    reason = "this is how xtask tells a test where its provider is"
)]
fn foreign() -> Option<String> {
    std::env::var("CAMPANILE_FOREIGN_PROVIDER").ok()
}

/// People log in at every provider that is here: ours always, and the foreign one whose address is named.
#[tokio::test]
async fn people_log_in_at_each_provider_that_is_here() {
    let ours = Provider::start(false).await;
    let foreign = foreign();
    for (name, issuer) in [("ours", Some(ours.url.clone())), ("oidc-provider", foreign)] {
        let Some(issuer) = issuer else {
            continue;
        };
        let service = service(&issuer).await;
        let (mut pages, mut refused) = (0, 0);
        for (user, groups) in [("ada", true), ("nobody", false)] {
            if name == "ours" && !groups {
                continue;
            }
            let mut browser = browser(&service);
            let off = browser.get("/login/oidc?next=/runs").await;
            let back = through(&mut browser, off.location.unwrap(), user, &mut pages).await;
            let page = browser.get(&here(&back)).await;
            assert_eq!(
                page.status,
                if groups { 303 } else { 403 },
                "{name} {user}: {}",
                page.text
            );
            assert_eq!(is_in(&mut browser).await, groups);
            refused += u64::from(!groups);
            // Once more with the same code, in a login of its own: the provider has used it up.
            let asked = leave(&mut browser).await;
            let code = query(&back)["code"].clone();
            let again = format!(
                "/login/oidc/callback?code={code}&state={}&iss={issuer}",
                asked["state"]
            );
            assert_eq!(browser.get(&again).await.status, 403);
            refused += 1;
        }
        if name != "ours" {
            println!(
                "{}",
                json!({ "record": "provider", "part": name, "logins": 1, "pages": pages, "refused": refused })
            );
        }
        service.stop().await;
    }
}
