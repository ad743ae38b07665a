//! People whom a proxy names: from its own address, and from nowhere else.

use reqwest::Method;
use serde_json::json;

use crate::browser::Browser;
use crate::support::{Service, TOKEN, start};

async fn service(from: &str) -> Service {
    start(&[
        ("access_proxy_header", "X-Forwarded-User"),
        ("access_proxy_from", from),
        ("access_proxy_groups_header", "X-Forwarded-Groups"),
        ("access_proxy_groups", "ops=operator,all=viewer"),
        ("trusted_proxies", "127.0.0.1"),
    ])
    .await
}

async fn me(service: &Service, headers: &[(&str, &str)]) -> (u16, serde_json::Value) {
    let mut browser = Browser::at(&service.url);
    let page = browser
        .send(Method::GET, "/api/v1/me", |mut request| {
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request
        })
        .await;
    (page.status, page.json())
}

#[tokio::test]
async fn who_the_proxy_names_is_in_with_the_rights_of_his_group() {
    let service = service("127.0.0.1").await;
    let ada = ("x-forwarded-user", "ada");
    let (status, who) = me(
        &service,
        &[
            ada,
            ("x-forwarded-groups", "all,ops"),
            ("x-forwarded-for", "203.0.113.9"),
        ],
    )
    .await;
    assert_eq!(
        (status, &who["kind"], &who["name"], &who["from"]),
        (200, &json!("proxy"), &json!("ada"), &json!("203.0.113.9"))
    );
    assert_eq!(who["rights"]["role"], "operator");
    let (status, who) = me(&service, &[ada, ("x-forwarded-groups", "others")]).await;
    assert!(
        status == 403
            && who["detail"]
                .as_str()
                .unwrap()
                .contains("access_proxy_groups"),
        "{who}"
    );
    assert_eq!(me(&service, &[ada]).await.0, 403);
    assert_eq!(me(&service, &[ada, ada]).await.0, 400);
    assert_eq!(
        me(&service, &[ada, ("x-forwarded-user", "eve")]).await.0,
        400
    );
    assert_eq!(me(&service, &[("x-forwarded-user", " ")]).await.0, 400);
    assert_eq!(me(&service, &[("x-forwarded-groups", "ops")]).await.0, 401);
    // A token is somebody's own word, and counts before it.
    let by_token = me(
        &service,
        &[ada, ("authorization", &format!("Bearer {TOKEN}"))],
    )
    .await
    .1;
    assert_eq!(by_token["kind"], "bootstrap");
    // The proxy's session is sent by a browser whoever made it ask: writes come from our own pages.
    let mut browser = Browser::at(&service.url);
    let own = service.url.clone();
    for (origin, status) in [
        (None, 403),
        (Some("https://evil.example"), 403),
        (Some(own.as_str()), 404),
    ] {
        let page = browser
            .send(Method::POST, "/api/v1/tasks/t/pause", |request| {
                let request = request
                    .header("x-forwarded-user", "ada")
                    .header("x-forwarded-groups", "ops");
                let request = request
                    .header("content-type", "application/json")
                    .body("{}");
                match origin {
                    Some(origin) => request.header("origin", origin),
                    None => request,
                }
            })
            .await;
        assert_eq!(page.status, status, "{origin:?}: {}", page.text);
    }
    service.stop().await;
}

#[tokio::test]
async fn from_elsewhere_the_header_is_nobodys_word() {
    let service = service("10.0.0.0/8").await;
    let ada = ("x-forwarded-user", "ada");
    let ops = ("x-forwarded-groups", "ops");
    // Whatever it says of where it comes from: this peer may speak for a client's address, and not for his name.
    for forged in [
        ("x-forwarded-for", "10.0.0.5"),
        ("forwarded", "for=10.0.0.5"),
        ("x-real-ip", "10.0.0.5"),
    ] {
        let (status, said) = me(&service, &[ada, ops, forged]).await;
        assert_eq!(status, 401, "{said}");
    }
    service.stop().await;
}
