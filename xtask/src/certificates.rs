//! Certificates for tests: an authority of the test's own, and what it signs: good, expired, or for another host. Made by
//! `openssl`; nothing here is trusted by anybody but the test that made it.

use std::path::PathBuf;
use std::process::Command;

use crate::servers::{RabbitMqCertificate, TempDir};

/// What a key store is locked with.
pub const STORE_PASSWORD: &str = "changeit";

/// For how long a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// For this test.
    Now,
    /// It was, in 2020.
    Expired,
}

/// Signs certificates, in a folder of its own.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When `openssl` is missing or refuses.
    #[must_use]
    pub fn new() -> Self {
        let folder = match TempDir::new("authority") {
            Ok(folder) => folder,
            Err(error) => panic!("no folder for certificates: {error}"),
        };
        let own = Self { folder };
        let dir = own.folder.path().display();
        // No two have the same name: a stranger's signature would be called a bad one of ours.
        let name = own.folder.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let config = format!(
            "[ca]\ndefault_ca=own\n[own]\ndir={dir}\ndatabase={dir}/index\nnew_certs_dir={dir}\n\
             certificate={dir}/ca.pem\nprivate_key={dir}/ca.key\nserial={dir}/serial\ndefault_md=sha256\n\
             policy=any\ncopy_extensions=copy\nunique_subject=no\n[any]\ncommonName=supplied\n\
             [req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=authority\n[dn]\nCN={name}\n\
             [authority]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nsubjectKeyIdentifier=hash\n"
        );
        own.write("ca.cnf", &config);
        own.write("index", "");
        own.write("serial", "01\n");
        own.openssl(&[
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-config", "ca.cnf",
            "-keyout", "ca.key", "-out", "ca.pem",
        ]);
        own
    }

    /// Whom to trust, in PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A server's certificate for this host.
    ///
    /// # Panics
    /// When `openssl` refuses.
    #[must_use]
    pub fn issue(&self, label: &str, host: &str, validity: Validity) -> RabbitMqCertificate {
        let [csr, key, pem, cnf] = ["csr", "key", "pem", "cnf"].map(|e| format!("{label}.{e}"));
        let config = format!(
            "[req]\ndistinguished_name=dn\nreq_extensions=ext\nprompt=no\n[dn]\nCN=server\n\
             [ext]\nsubjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n"
        );
        self.write(&cnf, &config);
        self.openssl(&[
            "req", "-newkey", "rsa:2048", "-nodes", "-config", &cnf, "-keyout", &key, "-out", &csr,
        ]);
        let dates: &[&str] = match validity {
            Validity::Now => &["-days", "2"],
            Validity::Expired => &[
                "-startdate",
                "20200101000000Z",
                "-enddate",
                "20200201000000Z",
            ],
        };
        let sign = ["ca", "-batch", "-notext", "-config", "ca.cnf"];
        let files = ["-in", &csr, "-out", &pem];
        self.openssl(&[&sign[..], dates, &files].concat());
        RabbitMqCertificate {
            ca: self.ca(),
            certificate: self.folder.join(&pem),
            key: self.folder.join(&key),
        }
    }

    /// The same as a key store for Java, locked with [`STORE_PASSWORD`].
    ///
    /// # Panics
    /// When `openssl` refuses.
    #[must_use]
    pub fn key_store(&self, label: &str, host: &str, validity: Validity) -> PathBuf {
        let _ = self.issue(label, host, validity);
        let [key, pem, store] = ["key", "pem", "p12"].map(|e| format!("{label}.{e}"));
        let pass = format!("pass:{STORE_PASSWORD}");
        self.openssl(&[
            "pkcs12",
            "-export",
            "-in",
            &pem,
            "-inkey",
            &key,
            "-certfile",
            "ca.pem",
            "-name",
            "broker",
            "-out",
            &store,
            "-passout",
            &pass,
        ]);
        self.folder.join(&store)
    }

    fn write(&self, name: &str, text: &str) {
        if let Err(error) = std::fs::write(self.folder.join(name), text) {
            panic!("failed to write {name}: {error}");
        }
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut openssl = Command::new("openssl");
        let done = openssl
            .args(arguments)
            .current_dir(self.folder.path())
            .output();
        match done {
            Ok(done) if done.status.success() => {}
            Ok(done) => panic!(
                "openssl {arguments:?}: {}",
                String::from_utf8_lossy(&done.stderr)
            ),
            Err(error) => panic!("openssl can't be run: {error}"),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
