//! Local users and the sessions of their browsers: who gets in, who does not, and what another site's page can do with
//! somebody's session, which is nothing.

use reqwest::Method;
use serde_json::json;

use crate::browser::{Browser, Page};
use crate::support::{Service, TOKEN, start};

pub const PASSWORD: &str = "oblong vulture staple ferry";
pub const OTHER: &str = "gravel monsoon teapot nine";

pub async fn add(service: &Service, name: &str, rights: serde_json::Value) {
    let body = json!({ "name": name, "password": PASSWORD, "rights": rights });
    let made = service.post("/users", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(!made.body.to_string().contains("argon2"), "{}", made.body);
}

pub async fn service() -> Service {
    let service = start(&[]).await;
    add(&service, "ada", json!({ "role": "operator", "data": true })).await;
    service
}

pub async fn me(browser: &mut Browser) -> Page {
    browser.get("/api/v1/me").await
}

#[tokio::test]
async fn nothing_tells_whether_there_is_such_a_user() {
    let service = service().await;
    let mut browser = Browser::at(&service.url);
    assert_eq!(me(&mut browser).await.status, 401);
    let wrong = browser.log_in("ada", OTHER).await;
    let unknown = browser.log_in("nobody", OTHER).await;
    assert_eq!((wrong.status, unknown.status), (401, 401));
    let said = |page: &Page| {
        page.text
            .split("role=\"alert\">")
            .nth(1)
            .map(|t| t.split('<').next().unwrap().to_owned())
    };
    assert!(
        said(&wrong).is_some() && said(&wrong) == said(&unknown),
        "{}",
        wrong.text
    );
    assert!(browser.cookie("campanile").is_none());
    let audit = service
        .until("/audit", |page| page.to_string().contains("login.failed"))
        .await;
    let line = &audit["items"][0];
    assert_eq!(
        (line["act"].as_str(), line["actor"].as_str()),
        (Some("login.failed"), Some("stranger:127.0.0.1")),
        "{line}"
    );
    let told = line["after"]["refused"].as_str().unwrap();
    assert!(told.contains("as `ada`"), "{line}");
    assert!(!audit.to_string().contains(OTHER), "{line}");
    service.stop().await;
}

#[tokio::test]
async fn a_session_is_a_cookie_until_its_owner_logs_out() {
    let service = service().await;
    let mut browser = Browser::at(&service.url);
    let page = browser.log_in(" Ada ", PASSWORD).await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/tasks")),
        "{}",
        page.text
    );
    let set = page
        .cookies
        .iter()
        .find(|line| line.starts_with("campanile="))
        .unwrap();
    for part in [
        "; Path=/",
        "; HttpOnly",
        "; SameSite=Lax",
        "; Max-Age=43200",
    ] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure") && !set.contains("Domain"), "{set}");
    let who = me(&mut browser).await.json();
    assert_eq!(
        (&who["kind"], &who["name"]),
        (&json!("user"), &json!("ada"))
    );
    assert_eq!(
        who["rights"],
        json!({ "role": "operator", "data": true, "scope": [] })
    );
    let here = browser.get("/login").await;
    assert!(
        here.text.contains("<strong>ada</strong>") && here.policy.contains("form-action 'self'"),
        "{}",
        here.text
    );
    assert!(
        !here.text.contains("<script") && !here.policy.contains("script-src"),
        "{}",
        here.policy
    );
    // A link can't end a session, nor can a form that is not of this session's page.
    assert_eq!(browser.get("/logout").await.status, 405);
    assert_eq!(
        browser.submit("/logout", &[("form", "x")]).await.status,
        403
    );
    let cookie = browser.cookie("campanile").unwrap().clone();
    let gone = browser
        .submit("/logout", &[("form", &here.field("form"))])
        .await;
    assert_eq!(
        (gone.status, gone.location.as_deref()),
        (303, Some("/login"))
    );
    assert!(browser.cookie("campanile").is_none());
    // What somebody copied of it is worth nothing any more.
    browser.put_cookie("campanile", &cookie);
    assert_eq!(me(&mut browser).await.status, 401);
    service.stop().await;
}

#[tokio::test]
async fn the_page_of_another_site_does_nothing_with_a_session() {
    let service = service().await;
    let mut browser = Browser::at(&service.url);
    browser.log_in("ada", PASSWORD).await;
    service
        .ask(
            "PUT",
            "/tasks/t",
            Some(json!({ "handler": { "native": "x" }, "schedule": "every 1h" })),
        )
        .await;
    let own = service.url.clone();
    let elsewhere = "https://evil.example".to_owned();
    let neighbour = own.replacen("127.0.0.1", "localhost", 1);
    let tls = own.replacen("http:", "https:", 1);
    for (origin, site, status) in [
        (None, None, 403),
        (None, Some("same-origin"), 403),
        (Some(&elsewhere), Some("cross-site"), 403),
        (Some(&elsewhere), None, 403),
        (Some(&elsewhere), Some("same-origin"), 403),
        (Some(&neighbour), Some("same-site"), 403),
        (Some(&tls), None, 403),
        (Some(&"null".to_owned()), None, 403),
        (Some(&own), Some("cross-site"), 403),
        (Some(&own), Some("same-site"), 403),
        (Some(&own), Some("none"), 403),
        (Some(&own), None, 200),
        (Some(&own), Some("same-origin"), 200),
    ] {
        let with = |mut request: reqwest::RequestBuilder| {
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            if let Some(site) = site {
                request = request.header("sec-fetch-site", site);
            }
            request
                .header("content-type", "application/json")
                .body("{}")
        };
        let page = browser
            .send(Method::POST, "/api/v1/tasks/t/pause", with)
            .await;
        assert_eq!(page.status, status, "{origin:?} {site:?}: {}", page.text);
    }
    // A program's token needs none of this, and is what counts where both are sent.
    let by_token = browser
        .send(Method::POST, "/api/v1/tasks/t/resume", |r| {
            r.bearer_auth(TOKEN)
                .header("content-type", "application/json")
                .body("{}")
        })
        .await;
    assert_eq!(by_token.status, 200, "{}", by_token.text);
    let wrong = browser
        .send(Method::GET, "/api/v1/me", |r| {
            r.bearer_auth("cmp_wrong_token_of_nobody_x7")
        })
        .await;
    assert_eq!(wrong.status, 401);
    service.stop().await;
}

#[tokio::test]
async fn a_login_is_of_our_own_page() {
    let service = service().await;
    let mut browser = Browser::at(&service.url);
    let form = browser.get("/login").await;
    let fields = |form: &str| {
        [
            ("form", form.to_owned()),
            ("user", "ada".to_owned()),
            ("password", PASSWORD.to_owned()),
        ]
    };
    let submit = async |browser: &mut Browser, form: &str| {
        let fields = fields(form);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        browser.submit("/login", &fields).await
    };
    // Another browser's form, none, and one without the cookie.
    let other = Browser::at(&service.url).get("/login").await.field("form");
    for wrong in [other.as_str(), ""] {
        assert_eq!(submit(&mut browser, wrong).await.status, 403);
    }
    let again = browser.get("/login").await;
    browser.drop_cookie("campanile-form");
    assert_eq!(submit(&mut browser, &again.field("form")).await.status, 403);
    // Login CSRF: another site's page logs somebody in as its own user.
    let form = if browser.cookie("campanile-form").is_some() {
        browser.get("/login").await
    } else {
        form
    };
    drop(form);
    let form = browser.get("/login").await;
    browser.origin = "https://evil.example".to_owned();
    assert_eq!(submit(&mut browser, &form.field("form")).await.status, 403);
    browser.origin = service.url.clone();
    assert_eq!(submit(&mut browser, &form.field("form")).await.status, 303);
    // What is no form, and one that is too big.
    let json = browser
        .send(Method::POST, "/login", |r| {
            r.header("origin", &service.url)
                .header("content-type", "application/json")
                .body("{}")
        })
        .await;
    assert_eq!(json.status, 415);
    let big = "x".repeat(20_000);
    assert_eq!(
        browser.submit("/login", &[("user", &big)]).await.status,
        413
    );
    service.stop().await;
}

#[tokio::test]
async fn a_session_is_made_anew_at_each_login_and_is_one_of_its_name() {
    let service = service().await;
    let mut browser = Browser::at(&service.url);
    // What somebody else put there before is not taken over.
    let planted = "A".repeat(43);
    browser.put_cookie("campanile", &planted);
    browser.log_in("ada", PASSWORD).await;
    let first = browser.cookie("campanile").unwrap().clone();
    assert_ne!(first, planted);
    let page = browser.get("/login").await;
    assert!(page.text.contains("Log out"), "{}", page.text);
    let mut thief = Browser::at(&service.url);
    thief.put_cookie("campanile", &first);
    assert_eq!(me(&mut thief).await.status, 200);
    // The form of a login is there for who has no session, so the second login is another tab's.
    browser.drop_cookie("campanile");
    let form = browser.get("/login").await;
    browser.put_cookie("campanile", &first);
    let fields = [
        ("form", form.field("form")),
        ("user", "ada".to_owned()),
        ("password", PASSWORD.to_owned()),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(browser.submit("/login", &fields).await.status, 303);
    let second = browser.cookie("campanile").unwrap().clone();
    assert_ne!(first, second);
    assert_eq!(
        (me(&mut browser).await.status, me(&mut thief).await.status),
        (200, 401)
    );
    // Two cookies of one name: one of them is somebody else's.
    let two = thief
        .send(Method::GET, "/api/v1/me", |r| {
            r.header("cookie", format!("campanile={second}; campanile={planted}"))
        })
        .await;
    assert_eq!(two.status, 401);
    service.stop().await;
}

#[tokio::test]
async fn guesses_are_slowed_down_and_counted_before_they_cost_anything() {
    let service = service().await;
    // All at once: what is paid for beforehand is not cheaper for who does not wait for an answer.
    let mut tries = Vec::new();
    for n in 0..40 {
        let mut browser = Browser::at(&service.url);
        let form = browser.get("/login").await.field("form");
        tries.push(campanile_core::system::spawn(async move {
            let user = format!("guess{n}");
            let fields = [
                ("form", form.as_str()),
                ("user", &user),
                ("password", "some wrong password"),
            ];
            browser.submit("/login", &fields).await
        }));
    }
    let (mut wrong, mut limited) = (0, 0);
    for one in tries {
        let page = one.await.unwrap();
        match page.status {
            401 => wrong += 1,
            429 => {
                limited += 1;
                let told = page.retry_after.is_some() && page.text.contains("too many tries");
                assert!(told, "{}", page.text);
            }
            other => panic!("{other}: {}", page.text),
        }
    }
    assert!(wrong >= 10 && limited > 0, "{wrong} {limited}");
    // A program's token has nothing to do with it.
    assert_eq!(service.get("/me").await.status, 200);
    let metrics = service
        .raw("GET", "/metrics")
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let lines = [
        format!("{{result=\"wrong\"}} {wrong}"),
        format!("{{result=\"limited\"}} {limited}"),
        "{result=\"succeeded\"} 0".to_owned(),
    ];
    for line in lines {
        assert!(
            metrics.contains(&format!("campanile_logins_total{line}")),
            "{metrics}"
        );
    }
    service.stop().await;
}

#[tokio::test]
async fn a_session_is_over_when_it_is() {
    let service = service().await;
    let mut browser = Browser::at(&service.url);
    browser.log_in("ada", PASSWORD).await;
    let url = format!("sqlite:{}", service.folder.join("c.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let seen = async || -> i64 {
        sqlx::query_scalar("SELECT seen_at FROM campanile_session")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let at = seen().await;
    me(&mut browser).await;
    assert_eq!(seen().await, at, "used within a minute: nothing is written");
    sqlx::query("UPDATE campanile_session SET seen_at = seen_at - 61000")
        .execute(&pool)
        .await
        .unwrap();
    me(&mut browser).await;
    assert!(seen().await >= at, "used after a minute: it is noted");
    for column in [
        "seen_at = seen_at - 3600000",
        "created_at = created_at - 43200000",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE campanile_session SET {column}"
        )))
        .execute(&pool)
        .await
        .unwrap();
        assert_eq!(me(&mut browser).await.status, 401, "{column}");
        browser.drop_cookie("campanile");
        browser.log_in("ada", PASSWORD).await;
    }
    // Of the cookie, the store has nothing that would let somebody in.
    let kept: String = sqlx::query_scalar("SELECT digest FROM campanile_session")
        .fetch_one(&pool)
        .await
        .unwrap();
    browser.put_cookie("campanile", &kept);
    assert_eq!(me(&mut browser).await.status, 401);
    pool.close().await;
    service.stop().await;
}
