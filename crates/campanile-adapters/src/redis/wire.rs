//! The bytes between this node and one server: TCP, with TLS where the setting asks for it. It owns dialling, whom TLS
//! trusts, and the bound on what a server may send unasked; it knows nothing of what the bytes mean.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use campanile_core::system::within;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::url::{Address, Tls, UrlError};

/// What a server may send to one question, or between two messages. CLUSTER SLOTS of a thousand nodes fits; what is
/// more is somebody's attempt at this node's memory.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How long a server may take to answer TLS's greeting: a port without TLS never does.
const GREETING_LIMIT: Duration = Duration::from_millis(700);

/// Makes ready whom TLS trusts.
pub(super) fn trust(tls: &Tls) -> Result<TlsConnector, UrlError> {
    let mut roots = RootCertStore::empty();
    if let Some(authorities) = &tls.authorities {
        let bad = |why: String| UrlError::Certificates {
            path: authorities.path.clone(),
            why,
        };
        for certificate in CertificateDer::pem_slice_iter(&authorities.pem) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| bad(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(bad("it holds no certificate".to_owned()));
        }
    } else {
        // What the system holds may be odd in parts; only having none is an error.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(UrlError::NoAuthorities);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(UrlError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection to a server, before anything is said.
pub(super) async fn dial(server: &Address, tls: Option<&TlsConnector>) -> io::Result<Wire> {
    let tcp = TcpStream::connect((server.host.as_str(), server.port)).await?;
    tcp.set_nodelay(true)?;
    let stream = match tls {
        None => Stream::Plain(tcp),
        Some(tls) => {
            let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
            let greeted = within(GREETING_LIMIT, tls.connect(name, tcp)).await;
            Stream::Tls(Box::new(greeted.unwrap_or_else(|| Err(silent()))?))
        }
    };
    Ok(Wire {
        stream,
        allowance: Allowance::default(),
    })
}

fn silent() -> io::Error {
    let told = "no answer to TLS's greeting: the server hangs, or this is not its `tls-port` (without TLS the setting begins with redis://, redis+sentinel:// or redis+cluster://)";
    io::Error::new(io::ErrorKind::TimedOut, told)
}

/// How much of what the server sends is taken yet.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Arc<AtomicUsize>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(ANSWER_BYTES_MAX)))
    }
}

impl Allowance {
    /// An answer or a message was taken whole: the next may come.
    pub(super) fn renew(&self) {
        self.0.store(ANSWER_BYTES_MAX, Ordering::Relaxed);
    }

    /// Whether so many bytes more are taken.
    fn takes(&self, bytes: usize) -> bool {
        let spend = |left: usize| left.checked_sub(bytes);
        let spent = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        spent.is_ok()
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that ends when its server sends more than an answer may hold.
pub(super) struct Wire {
    stream: Stream,
    allowance: Allowance,
}

impl Wire {
    /// What renews the bound where messages come without questions.
    pub(super) fn allowance(&self) -> Allowance {
        self.allowance.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        })?;
        if self.allowance.takes(buffer.filled().len() - before) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::other(format!(
            "it sent more than {ANSWER_BYTES_MAX} bytes where an answer was to come"
        ))))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.allowance.renew();
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
