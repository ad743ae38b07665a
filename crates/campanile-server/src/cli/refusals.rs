//! Why a service gave no answer, in words that lead on: nobody is there, it speaks another protocol, or its certificate is
//! not accepted. Reads errors; asks nothing.

use std::error::Error as StdError;

use rustls::{CertificateError, Error as Tls};

use campanile_core::causes;

/// What is said where no answer came.
pub(super) fn no_answer(url: &str, error: &reqwest::Error) -> String {
    let tls = find::<Tls>(error);
    let why = match tls {
        Some(Tls::InvalidMessage(_)) => Some(
            "what listens there does not speak TLS: is it plain http? then name it with http://"
                .to_owned(),
        ),
        Some(Tls::InvalidCertificate(wrong)) => Some(certificate(wrong)),
        Some(other) => Some(format!("TLS failed: {other}")),
        None if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) => Some(
            "what listens there does not speak plain http: is it TLS? then name it with https://"
                .to_owned(),
        ),
        None => None,
    };
    match why {
        Some(why) => format!("{url} gives no answer that can be used: {why}"),
        None => format!(
            "{url} does not answer ({}): start a node with `campanile dev` or `campanile serve`, or set CAMPANILE_URL",
            causes(error)
        ),
    }
}

fn certificate(wrong: &CertificateError) -> String {
    let remedy = match wrong {
        CertificateError::UnknownIssuer => {
            "who signed it is not trusted here: name the authority's certificate (or its own, if it signed itself) with \
             --ca FILE"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it was made for other names than the one in the address: use one of its names"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired: the service needs a new one"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet: is this machine's clock right?"
        }
        CertificateError::Other(_) if wrong.to_string().contains("CaUsedAsEndEntity") => {
            "it is an authority's certificate, which a service can't show: make one for the service (with CA:FALSE), and \
             name the authority's with --ca FILE"
        }
        _ => "the service needs another one",
    };
    format!("its certificate is not accepted ({wrong}): {remedy}")
}

/// The cause of a kind, however deep it lies. Errors of the operating system's kind hold others that they don't name.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    if let Some(found) = error.downcast_ref::<E>() {
        return Some(found);
    }
    let inner = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    let inner = inner.and_then(|inner| find(inner as &(dyn StdError + 'static)));
    inner.or_else(|| error.source().and_then(find))
}
