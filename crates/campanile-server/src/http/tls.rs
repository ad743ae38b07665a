//! TLS for the HTTP service: certificate and key, as they are now. New ones are taken while the service runs, by
//! connections that come after; what can't be used leaves the old ones in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::Error;

/// The certificate in force.
#[derive(Debug, Clone)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    now: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Certificate {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// The file at fault.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, Error> {
        let now = Arc::new(RwLock::new(config(cert, key)?));
        let (cert, key) = (cert.to_owned(), key.to_owned());
        Ok(Self { cert, key, now })
    }

    /// Reads both again.
    ///
    /// # Errors
    /// The file at fault; the old ones stay in force.
    pub fn reload(&self) -> Result<(), Error> {
        let new = config(&self.cert, &self.key)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// For the next handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&now))
    }
}

fn config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let wrong = |key: &'static str, path: &Path| {
        let path = path.to_owned();
        move |message: String| Error::Certificate { key, path, message }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|e| wrong("tls_cert", cert)(e.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("tls_cert", cert)(
            "it holds no certificate in PEM".to_owned(),
        ));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|e| wrong("tls_key", key)(e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("tls_cert", cert)(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| wrong("tls_key", key)(format!("it is not the certificate's key: {e}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
