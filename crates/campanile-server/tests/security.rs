//! Who is let in, and who isn't: every route of the API's own document without its token, pages of other sites, the
//! token's file, https. A route that is added is tested here without anybody thinking of it.

use std::path::Path;

use campanile_adapters::{open, sql};
use campanile_server::{api, compose};
use xtask::servers::TempDir;

use crate::support::{TOKEN, answer, host, settings, start};

/// Every route of the API's own document, with something in place of its parameters.
fn routes() -> Vec<(String, String)> {
    let document = api::document();
    let mut out = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{name}", "x").replace("{id}", "0000000000000");
            out.push((method.to_uppercase(), path));
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_answers_without_the_token() {
    let s = start(&[]).await;
    let mut routes = routes();
    assert!(routes.len() > 15, "{routes:?}");
    routes.extend([
        ("GET".to_owned(), "/metrics".to_owned()),
        ("GET".to_owned(), "/openapi.json".to_owned()),
        ("GET".to_owned(), "/nowhere".to_owned()),
    ]);
    for (method, path) in &routes {
        let none = s.raw(method, path);
        let wrong = s.raw(method, path).bearer_auth("cmp_wrong-0123456789abcd");
        let basic = s
            .raw(method, path)
            .header("authorization", format!("Basic {TOKEN}"));
        for request in [none, wrong, basic] {
            let got = answer(request.send().await.unwrap()).await;
            assert_eq!(got.status, 401, "{method} {path}: {got:?}");
            assert_eq!(got.kind, "application/problem+json");
        }
    }
    for path in ["/healthz", "/readyz", "/", "/assets/app.js"] {
        let open = s.raw("GET", path).send().await.unwrap();
        assert_ne!(open.status(), 401, "{path}");
        let policy = open.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_get_nothing_from_a_service_on_loopback() {
    let s = start(&[]).await;
    let ask = |name: &'static str, value: &str| {
        s.raw("GET", "/api/v1/tasks")
            .bearer_auth(TOKEN)
            .header(name, value)
    };
    assert_eq!(
        ask("host", "evil.example").send().await.unwrap().status(),
        421
    );
    assert_eq!(
        ask("origin", "http://evil.example")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(ask("origin", "null").send().await.unwrap().status(), 403);
    assert_eq!(ask("origin", &s.url).send().await.unwrap().status(), 200);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_role_serves_health_alone() {
    let s = start(&[("roles", "scheduler,worker")]).await;
    assert_eq!(s.raw("GET", "/healthz").send().await.unwrap().status(), 200);
    assert_eq!(s.raw("GET", "/metrics").send().await.unwrap().status(), 401);
    for path in ["/", "/api/v1/tasks", "/openapi.json"] {
        let got = s.raw("GET", path).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(got.status(), 404, "{path}");
    }
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_makes_a_token_and_the_second_keeps_it() {
    let folder = TempDir::new("token").unwrap();
    let store = format!("sqlite:{}", folder.join("c.db").display());
    let settings = settings(&[
        ("store", store.as_str()),
        ("listen", "127.0.0.1:0"),
        ("drain", "1s"),
    ]);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let ports = open::ports(&settings.urls(), sql::Migrate::Always)
            .await
            .unwrap();
        let app = compose::start_with(&settings, ports, &host(), |handlers| handlers)
            .await
            .unwrap();
        tokens.push(app.new_token.clone());
        let held = folder.join("c.db.token");
        campanile_server::token::file::mark_seen(&held).unwrap();
        app.node.stop().await;
        app.serving.stop().await;
    }
    let first = tokens[0].as_ref().unwrap();
    assert_eq!(tokens[1], None);
    let kept = std::fs::read_to_string(folder.join("c.db.token")).unwrap();
    assert_eq!(kept.trim(), first.token);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_speaks_https() {
    if !xtask::servers::on_path("openssl") {
        return xtask::skip("openssl makes the certificate: apt-get install openssl");
    }
    let folder = TempDir::new("tls").unwrap();
    let (cert, key) = (folder.join("c.pem"), folder.join("k.pem"));
    make_certificate(&cert, &key);
    let s = start(&[
        ("tls_cert", cert.to_str().unwrap()),
        ("tls_key", key.to_str().unwrap()),
    ])
    .await;
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&cert).unwrap()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .build()
        .unwrap();
    // A client that says nothing keeps nobody waiting.
    let silent = tokio::net::TcpStream::connect(s.app.address).await.unwrap();
    let url = format!("https://localhost:{}/healthz", s.app.address.port());
    assert_eq!(
        client.get(url).send().await.unwrap().text().await.unwrap(),
        "ok\n"
    );
    drop(silent);
    // Browsers are to stay with https, but not with every other service that this machine calls `localhost`.
    let port = s.app.address.port();
    let hsts = |host: &'static str| {
        let request = client.get(format!("https://{host}:{port}/healthz"));
        async move {
            let got = request.send().await.unwrap();
            got.headers().get("strict-transport-security").cloned()
        }
    };
    assert_eq!(hsts("127.0.0.1").await.unwrap(), "max-age=31536000");
    assert_eq!(hsts("localhost").await, None);
    s.stop().await;
    let plain = start(&[]).await;
    let got = plain.raw("GET", "/healthz").send().await.unwrap();
    assert!(!got.headers().contains_key("strict-transport-security"));
    plain.stop().await;
}

pub fn make_certificate(cert: &Path, key: &Path) {
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(cert)
        .arg("-keyout")
        .arg(key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}
