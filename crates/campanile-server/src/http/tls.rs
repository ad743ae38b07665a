//! TLS for the HTTP service. Handshakes run beside each other, each within a limit, so that a client that says nothing
//! keeps nobody waiting.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use campanile::system;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Error;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HANDSHAKES_MAX: usize = 256;
/// The wait after an error of the listening socket (no file handle free).
const ACCEPT_WAIT: Duration = Duration::from_millis(200);

/// Reads certificate and key.
///
/// # Errors
/// The file at fault.
pub(super) fn config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
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

/// Connections whose handshakes are done.
pub(super) struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    pub(super) fn new(
        tcp: TcpListener,
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        closing: CancellationToken,
    ) -> Self {
        let (done, ready) = mpsc::channel(16);
        let acceptor = TlsAcceptor::from(tls);
        system::spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = accept_all(tcp, acceptor, done) => {}
            }
        });
        Self { ready, address }
    }
}

async fn accept_all(
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match tcp.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                system::pause(ACCEPT_WAIT).await;
                continue;
            }
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        system::spawn(async move {
            match system::within(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                Some(Ok(stream)) => {
                    let _ = done.send((stream, peer)).await;
                }
                Some(Err(error)) => tracing::debug!(%error, %peer, "a TLS handshake failed"),
                None => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
            drop(place);
        });
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The service is closing: nothing comes any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
