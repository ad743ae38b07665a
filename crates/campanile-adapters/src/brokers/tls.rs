//! TLS to a broker: whose certificates are trusted, and what is said when the broker's is not. rustls with ring; never a
//! way around the check of the name or of the dates.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::url::{Target, UrlError};

/// What connects, where the URL asks for TLS.
pub(crate) fn connector(target: &Target) -> Result<Option<TlsConnector>, UrlError> {
    if !target.tls {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    let remedy = "give a PEM file with the authority's certificate as ?ca=FILE";
    if let Some(file) = &target.ca {
        let bad =
            |why: String| UrlError::new(format!("names `ca` {}: {why}", file.display()), remedy);
        let certificates =
            CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| bad(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(bad("it holds no certificate".to_owned()));
        }
    } else {
        // What the system holds may be odd in parts; only having none is an error.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let problem = "asks for TLS, and this machine has no trusted certificates";
            return Err(UrlError::new(problem, remedy));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| UrlError::new(format!("can't use TLS: {error}"), "report this"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// Why a handshake failed, with the setting that may be wrong.
pub(crate) fn problem(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|e| e.downcast_ref());
    let remedy = match inner {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the broker's certificate has expired: renew it on the broker (the clock of this machine may be wrong, too)"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the broker's certificate begins later: look at the clocks of both machines"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the broker's certificate is for another host: write a host in the setting `broker` that it names, or have \
                 it name this one"
            }
            _ => {
                "if the broker's certificate is from your own authority, add ?ca=FILE to the setting `broker`"
            }
        },
        Some(_) | None => {
            "does this port of the setting `broker` speak TLS? If the broker's certificate is from your own authority, \
             add ?ca=FILE to it"
        }
    };
    format!("TLS: {error}; {remedy}")
}
