//! Any bytes as the body of any request that takes one, through the very routes, guard and control of the server, over a
//! store in memory and without a socket: never a panic, never a 5xx, each refusal a problem of a bounded length with
//! its status; and a task that was taken is answered as it was given.
//!
//! The first byte chooses the route, the rest is the body; where the route has a query, the text before the first
//! newline is that.

#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use campanile_ask::{Control, Parts};
use campanile_core::time::database::DatabaseTime;
use campanile_core::id::Mint;
use campanile_core::memory::clock::ManualClock;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::clock::Clock;
use campanile_core::system::{Pool, Random};
use campanile_schedule::time::Timestamp;
use campanile_server::api::guard::Guard;
use campanile_server::api::{self, problem::Problem};
use campanile_server::http::proxies::Proxies;
use campanile_server::token::Tokens;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const TOKEN: &str = "cmp_fuzz-0123456789abcdef";
/// After so many a server begins again, so that what is found does not hang on all that was before.
const INPUTS_MAX: usize = 100;
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const REFUSAL_BYTES_MAX: usize = 16_000;
const ROUTES: [(&str, &str); 10] = [
    ("PUT", "/api/v1/tasks/t"),
    ("POST", "/api/v1/runs"),
    ("POST", "/api/v1/apply"),
    ("POST", "/api/v1/tasks/old/trigger"),
    ("POST", "/api/v1/tasks/old/backfill"),
    ("PUT", "/api/v1/calendars/c"),
    ("PUT", "/api/v1/limits/group:g"),
    ("GET", "/api/v1/runs"),
    ("GET", "/api/v1/tasks"),
    ("GET", "/api/v1/tasks/old/why"),
];

fuzz_target!(|data: &[u8]| {
    let Some((route, body)) = data.split_first() else {
        return;
    };
    let (method, path) = ROUTES[usize::from(*route) % ROUTES.len()];
    WORLD.with_borrow_mut(|world| {
        if world
            .as_ref()
            .is_none_or(|world| world.inputs == INPUTS_MAX)
        {
            *world = Some(World::new());
        }
        if let Some(world) = world {
            world.inputs += 1;
            let World {
                runtime, service, ..
            } = world;
            runtime.block_on(one(service, method, path, body));
        }
    });
});

/// A server and how many inputs it has had: its routes take longer to make than an input to serve.
struct World {
    runtime: Runtime,
    service: Router,
    inputs: usize,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let service = service();
        let old = br#"{"schedule":"every 1h","handler":{"native":"x"},"payload":1}"#;
        let put = ask(&service, "PUT", "/api/v1/tasks/old", old);
        assert_eq!(runtime.block_on(put).0, 201);
        Self {
            runtime,
            service,
            inputs: 0,
        }
    }
}

async fn one(service: &Router, method: &str, path: &str, body: &[u8]) {
    let mut path = path.to_owned();
    if method == "GET" {
        path.push('?');
        for byte in body {
            if byte.is_ascii_graphic() && !b"#\\\"<>^`{|}".contains(byte) {
                path.push(char::from(*byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    let (status, answer) = ask(service, method, &path, body).await;
    if status >= 400 {
        let problem: Problem = serde_json::from_slice(&answer).unwrap();
        assert_eq!(problem.status, status);
        assert!(!problem.detail.is_empty());
        assert!(answer.len() < REFUSAL_BYTES_MAX, "{} bytes", answer.len());
        assert_ne!(status, 401);
    }
    if method == "PUT" && path.contains("/tasks/") && status < 300 {
        let given: Value = serde_json::from_slice(body).unwrap_or_default();
        let kept: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(kept["name"], "t");
        for field in ["payload", "description"] {
            if !given[field].is_null() {
                assert_eq!(kept[field], given[field]);
            }
        }
    }
}

fn service() -> Router {
    let start = Timestamp::from_ms(1_790_000_000_000);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(start));
    let random = Arc::new(Random::from_seed(7));
    let control = Control::new(Parts {
        store: Arc::new(MemoryStore::new(Arc::clone(&clock))),
        lock: Arc::new(MemoryLock::new(Arc::clone(&clock))),
        time: DatabaseTime::new(Arc::clone(&clock)),
        clock,
        mint: Arc::new(Mint::new(Arc::clone(&random))),
        random,
        metrics: Arc::default(),
        pool: Pool::inline(),
        on_work: Arc::new(|| {}),
    });
    let guard = Guard::new(Tokens::fixed(TOKEN), true, Proxies::default());
    api::router(Arc::new(control), guard)
}

async fn ask(service: &Router, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Body::from(body.to_vec()));
    // What no client can send as an address reaches nobody.
    let Ok(request) = request else {
        return (200, Vec::new());
    };
    let response: Response<Body> = service.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert!(status < 500, "{method} {path}: {status}");
    let answer = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    (status, answer.unwrap().to_vec())
}
