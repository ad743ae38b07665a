//! The lock over TLS, with an authority of our own. It owns whom the lock trusts; it never touches the machine's own
//! store of certificates, which everything else here relies on.

use std::path::Path;
use std::process::Command;

use xtask::servers::{TempDir, free_port, on_path};

use super::*;

fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {line}: {told}");
}

/// An authority in `ca.pem`, and a certificate of it for 127.0.0.1 in `cert.pem` and `key.pem`.
fn certify(folder: &Path) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        folder,
        &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"),
    );
    openssl(
        folder,
        &format!("req {KEY} -keyout key.pem -out csr.pem -subj /CN=redis"),
    );
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl(
        folder,
        "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names",
    );
}

#[tokio::test]
async fn over_tls_a_known_authority_is_trusted_and_an_unknown_one_is_not() {
    if !on_path("openssl") {
        xtask::skip(&xtask::servers::install_line(&["openssl"]));
        return;
    }
    let folder = TempDir::new("tls").unwrap();
    certify(folder.path());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let arguments = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &at("cert.pem"),
        "--tls-key-file",
        &at("key.pem"),
        "--tls-ca-cert-file",
        &at("ca.pem"),
        "--tls-auth-clients",
        "no",
    ];
    let Some(_server) = or_skip(Redis::start_with(&arguments)) else {
        return;
    };
    let url = format!("rediss://127.0.0.1:{port}?ca={}", at("ca.pem"));
    let (lock, other) = (lock_at(&url, "c"), lock_at(&url, "c"));
    take(&lock, &holder("me")).await;
    assert!(lock.renew(&holder("me"), TTL).await.unwrap());
    hear(&other, &lock).await;

    let stranger = lock_at(&format!("rediss://127.0.0.1:{port}"), "c");
    let error = stranger.acquire(&holder("you"), TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(story(&error).contains("certificate"), "{}", story(&error));
}
