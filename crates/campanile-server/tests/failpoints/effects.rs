//! The log of effects, kept outside the product: an HTTP server that the tasks' handlers call. Each request is one start
//! of one attempt and is noted before anything is answered. How it is answered stands in its path, so one server serves
//! every scene.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use campanile::system;

/// One start of one attempt.
#[derive(Debug, Clone)]
pub struct Effect {
    /// In which scene.
    pub scene: String,
    /// Of which task.
    pub task: String,
    /// `Idempotency-Key`.
    pub key: String,
    /// `Campanile-Run`.
    pub run: String,
    /// `Campanile-Attempt`.
    pub attempt: i64,
    /// When it arrived, by this machine's clock.
    pub at_ms: i64,
}

/// How a request is answered: the status, after so many milliseconds.
pub type Manner = (u16, u64);

type Log = Arc<Mutex<Vec<Effect>>>;

/// The running server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Effects {
    address: String,
    log: Log,
}

impl Effects {
    /// Starts it on a loopback port of its own.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Log::default();
        let route = "/{scene}/{task}/{first}/{then}";
        let router = Router::new()
            .route(route, post(note))
            .with_state(Arc::clone(&log));
        system::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, log }
    }

    /// Where a task's handler sends its request; its first attempt is answered one way, every later one another.
    pub fn url(&self, scene: &str, task: &str, first: Manner, then: Manner) -> String {
        let word = |(status, wait): Manner| format!("{status}-{wait}");
        format!(
            "http://{}/{scene}/{task}/{}/{}",
            self.address,
            word(first),
            word(then)
        )
    }

    /// All effects of a scene, in the order of their arrival.
    pub fn of(&self, scene: &str) -> Vec<Effect> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|e| e.scene == scene).cloned().collect()
    }
}

async fn note(
    State(log): State<Log>,
    Path((scene, task, first, then)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> StatusCode {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let effect = Effect {
        scene,
        task,
        key: text("idempotency-key"),
        run: text("campanile-run"),
        attempt: text("campanile-attempt").parse().unwrap_or(0),
        at_ms: system::wall_now().as_ms(),
    };
    let manner = if effect.attempt == 1 { first } else { then };
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(effect);
    let (status, wait) = manner.split_once('-').unwrap_or(("500", "0"));
    system::pause(Duration::from_millis(wait.parse().unwrap_or(0))).await;
    let status = status
        .parse()
        .ok()
        .and_then(|s| StatusCode::from_u16(s).ok());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
