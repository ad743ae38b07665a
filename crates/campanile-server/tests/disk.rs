//! A store whose disk is full: the node says that it is not ready, and why, and is ready again when there is room.

use std::process::Command;

use serde_json::{Value, json};
use xtask::servers::{TempDir, Tmpfs};

use crate::support::{PATIENCE, Service, answer, start};

/// Asks until `/readyz` is as wanted.
async fn until_ready(s: &Service, ready: bool) -> Value {
    let mut last = Value::Null;
    let waited = campanile_core::system::within(PATIENCE, async {
        loop {
            let got = answer(s.raw("GET", "/readyz").send().await.unwrap()).await;
            last = got.body;
            if (got.status == 200) == ready {
                return;
            }
            campanile_core::system::pause(std::time::Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_some(), "never {ready}: {last}");
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_not_ready_and_says_so_until_there_is_room() {
    let folder = TempDir::new("full").unwrap();
    let path = folder.join("disk");
    std::fs::create_dir(&path).unwrap();
    let disk = match Tmpfs::mount(&path, 24, None) {
        Ok(disk) => disk,
        Err(error) => return xtask::skip(&format!("no disk that can be filled: {error}")),
    };
    let store = format!("sqlite:{}", path.join("c.db").display());
    let s = start(&[("store", &store), ("lease", "3s")]).await;
    let task = json!({ "handler": { "native": "nobody" } });
    assert_eq!(s.ask("PUT", "/tasks/t", Some(task)).await.status, 201);
    until_ready(&s, true).await;
    disk.fill().unwrap();
    let body = json!({ "payload": "x".repeat(200_000) });
    let mut refused = None;
    for _ in 0..200 {
        let got = s.post("/tasks/t/trigger", body.clone()).await;
        if got.status != 201 {
            refused = Some(got);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    let said = refused.body["detail"].as_str().unwrap();
    assert!(said.contains("disk is full"), "{said}");
    let said = until_ready(&s, false).await;
    assert!(
        said["store"].as_str().unwrap().contains("its disk is full"),
        "{said}"
    );
    let metrics = s.metrics().await;
    assert!(metrics.contains("campanile_store_full 1\n"), "{metrics}");
    let doctor = Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(["doctor", "--store", &store])
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let room = said
        .lines()
        .find(|l| l.contains("room"))
        .unwrap_or_default();
    assert!(
        room.starts_with("FAILED") && room.contains("disk is full"),
        "{said}"
    );
    assert_eq!(doctor.status.code(), Some(1));
    // The node's own heartbeats find out that there is room.
    disk.clear().unwrap();
    until_ready(&s, true).await;
    s.stop().await;
}
