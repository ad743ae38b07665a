//! A service on a free port over a SQLite file of its own, and requests to it.

use std::time::Duration;

use campanile_adapters::{open, sql};
use campanile_core::engine::Handlers;
use campanile_server::compose::{self, App};
use campanile_server::config::{Environment, Layer, Raw, Settings, Source, Written, find_key};
use campanile_server::programs::Host;
use serde_json::Value;
use xtask::servers::TempDir;

pub const TOKEN: &str = "cmp_Vq8tZ2xLr6YwKd1MhNc5";

/// How long a fact may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn settings(pairs: &[(&str, &str)]) -> Settings {
    let mut layer = Layer::new();
    for (name, value) in pairs {
        let key = find_key(name).unwrap();
        let raw = Raw::split(value, key.kind, Source::Flag(key.flag()));
        layer.insert(key.name, raw);
    }
    Written::gather(layer, &Environment::new(), None)
        .unwrap()
        .settings()
        .unwrap()
}

/// A running service.
pub struct Service {
    pub app: App,
    pub folder: TempDir,
    pub url: String,
    client: reqwest::Client,
}

/// The tests of one process have their children in common.
pub fn host() -> Host {
    Host::Shared {
        supervisor: env!("CARGO_BIN_EXE_campanile").into(),
    }
}

/// Starts one with these settings beside the usual ones of a test.
pub async fn start(extra: &[(&str, &str)]) -> Service {
    start_with(extra, |handlers| handlers).await
}

/// The same with native handlers.
pub async fn start_with(
    extra: &[(&str, &str)],
    more: impl FnOnce(Handlers) -> Handlers,
) -> Service {
    // The error is that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = TempDir::new("server").unwrap();
    let store = format!("sqlite:{}", folder.join("c.db").display());
    let mut pairs = vec![
        ("store", store.as_str()),
        ("listen", "127.0.0.1:0"),
        ("name", "test"),
        ("token", TOKEN),
        ("drain", "1s"),
        ("allow_private_targets", "true"),
    ];
    pairs.retain(|(name, _)| !extra.iter().any(|(n, _)| n == name));
    pairs.extend_from_slice(extra);
    start_as(&settings(&pairs), folder, more).await
}

/// Starts one with just these settings, which keeps its things in this folder.
pub async fn start_as(
    settings: &Settings,
    folder: TempDir,
    more: impl FnOnce(Handlers) -> Handlers,
) -> Service {
    // The error is that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ports = open::ports(&settings.urls(), sql::Migrate::Always)
        .await
        .unwrap();
    let app = compose::start_with(settings, ports, &host(), more)
        .await
        .unwrap();
    let url = format!("http://{}", app.address);
    Service {
        app,
        folder,
        url,
        client: reqwest::Client::new(),
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub body: Value,
}

impl Service {
    /// A request below `/api/v1`, with the token.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let url = format!("{}/api/v1{path}", self.url);
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, url).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body)).await
    }

    /// A request as it is made here, without a token.
    pub fn raw(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> String {
        let asked = self.raw("GET", "/metrics").bearer_auth(TOKEN);
        asked.send().await.unwrap().text().await.unwrap()
    }

    /// Asks again and again until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let waited = campanile_core::system::within(PATIENCE, async {
            loop {
                last = self.get(path).await.body;
                if wanted(&last) {
                    return;
                }
                campanile_core::system::pause(Duration::from_millis(30)).await;
            }
        })
        .await;
        assert!(waited.is_some(), "{path} never became as wanted: {last:#}");
        last
    }

    pub async fn stop(self) {
        self.app.node.stop().await;
        self.app.serving.stop().await;
    }
}

pub async fn answer(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let kind = response
        .headers()
        .get("content-type")
        .map(|v| v.to_str().unwrap().to_owned())
        .unwrap_or_default();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, kind, body }
}
