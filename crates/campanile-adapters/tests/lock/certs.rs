//! Certificates for a test: an authority of its own, and servers that it certified well, for another name, or long ago.
//! It never touches the machine's own store of certificates, which everything else here relies on.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::servers::{TempDir, install_line, on_path};

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// What is odd about a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// It is for a host of another name.
    Name,
    /// It was good for a day in 2020.
    Expired,
}

/// A folder with `ca.pem`, `cert.pem` and `key.pem`.
#[derive(Debug)]
pub(super) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// For 127.0.0.1 and `localhost`; `None`, and a recorded skip, without `openssl`.
    pub(super) fn new(flaw: Flaw) -> Option<Self> {
        if !on_path("openssl") {
            xtask::skip(&install_line(&["openssl"]));
            return None;
        }
        let folder = TempDir::new("tls").unwrap();
        certify(folder.path(), flaw);
        Some(Self { folder })
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The authority's file, as an option of a URL.
    pub(super) fn ca(&self) -> String {
        format!("ca={}", self.folder.join("ca.pem").display())
    }
}

fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {line}: {told}");
}

fn certify(folder: &Path, flaw: Flaw) {
    let names = match flaw {
        Flaw::Name => "subjectAltName=DNS:redis.example",
        Flaw::None | Flaw::Expired => "subjectAltName=IP:127.0.0.1,DNS:localhost",
    };
    let dates = match flaw {
        Flaw::Expired => "-startdate 20200101000000Z -enddate 20200102000000Z",
        Flaw::None | Flaw::Name => "-days 2",
    };
    let settings = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nnew_certs_dir = .\nserial = serial\ndefault_md = sha256\n\
                    policy = p\n[p]\ncommonName = supplied\n";
    for (name, text) in [("names", names), ("ca.cnf", settings), ("index.txt", "")] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    openssl(
        folder,
        &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"),
    );
    openssl(
        folder,
        &format!("req {KEY} -keyout key.pem -out csr.pem -subj /CN=redis"),
    );
    openssl(
        folder,
        &format!(
            "ca -batch -notext -config ca.cnf -rand_serial -in csr.pem -cert ca.pem -keyfile ca.key -out cert.pem {dates} -extfile names"
        ),
    );
}
