//! Getting a connection: the fail-over list, TLS, the handshake. It begins with the address that answered last, tries
//! the others in their order and waits, ever longer, only when the whole list was in vain. A standby broker refuses
//! connections, so the next address is tried at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use campanile_core::port::broker;
use campanile_core::system::{self, Random};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::codec::{self, Decoder, Frame};
use super::connection::{Accepted, Connection, Failure, Faults, ReadHalf, WriteHalf, words_of};
use super::url::{Address, Target, UrlError};

/// For the TCP connection to one address.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// For TLS and the broker's answer to CONNECT.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
const BACKOFF_INITIAL: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Who knows the way to the brokers.
pub(super) struct Dialer {
    target: Target,
    tls: Option<TlsConnector>,
    heart_beat: Duration,
    random: Random,
    /// What brokers did wrong.
    pub(super) faults: Arc<Faults>,
    /// The address that answered last.
    first: AtomicUsize,
    /// Why the last attempt was in vain.
    cause: Mutex<Option<Failure>>,
}

/// A connection and who is at its end.
pub(super) struct Dialed {
    pub(super) connection: Connection,
    pub(super) server: String,
    pub(super) address: String,
}

impl Dialer {
    pub(super) fn new(target: Target, heart_beat: Duration) -> Result<Self, UrlError> {
        let tls = if target.tls {
            Some(tls(&target)?)
        } else {
            None
        };
        Ok(Self {
            target,
            tls,
            heart_beat,
            random: Random::from_system(),
            faults: Arc::default(),
            first: AtomicUsize::new(0),
            cause: Mutex::new(None),
        })
    }

    /// Tries until it is connected, refused by whoever answers, or `limit` has passed.
    pub(super) async fn dial_within(&self, limit: Duration) -> Result<Dialed, broker::Error> {
        match system::within(limit, self.dial()).await {
            Some(dialed) => Ok(dialed?),
            None => Err(self.unreachable(limit)),
        }
    }

    /// The error of a caller that waited for `limit`.
    pub(super) fn unreachable(&self, limit: Duration) -> broker::Error {
        let cause = self
            .cause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match cause {
            Some(failure) => broker::Error::Unreachable(failure.into()),
            None => broker::Error::Unreachable(
                format!(
                    "setting `broker`: no address answered within {} ms",
                    limit.as_millis()
                )
                .into(),
            ),
        }
    }

    async fn dial(&self) -> Result<Dialed, Failure> {
        let mut wait = BACKOFF_INITIAL;
        loop {
            match self.pass().await {
                Ok(dialed) => return Ok(dialed),
                Err(refused @ Failure::Refused { .. }) => return Err(refused),
                Err(lost) => {
                    *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(lost);
                }
            }
            // Between half and all of it, so that nodes that lost the same broker don't come back in step.
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let jitter = Duration::from_millis(self.random.below(wait_ms / 2 + 1));
            system::pause(wait / 2 + jitter).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        }
    }

    /// Each address once. A refusal counts more than an address that did not answer.
    async fn pass(&self) -> Result<Dialed, Failure> {
        let count = self.target.addresses.len();
        let first = self.first.load(Ordering::Relaxed) % count;
        let others = (0..count).filter(|i| *i != first);
        let mut failure = None;
        for index in std::iter::once(first).chain(others) {
            let address = &self.target.addresses[index];
            match self.attempt(address).await {
                Ok(dialed) => {
                    self.first.store(index, Ordering::Relaxed);
                    *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return Ok(dialed);
                }
                Err(error) => {
                    tracing::debug!(address = %address, error = %error, "broker {address} gave no connection");
                    if !matches!(failure, Some(Failure::Refused { .. })) {
                        failure = Some(error);
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| lost("", "the list of addresses is empty")))
    }

    async fn attempt(&self, address: &Address) -> Result<Dialed, Failure> {
        let name = address.to_string();
        let tcp = TcpStream::connect((address.host.as_str(), address.port));
        let tcp = match system::within(CONNECT_LIMIT, tcp).await {
            None => return Err(lost(&name, "no connection within a second")),
            Some(Err(error)) => return Err(lost(&name, &error.to_string())),
            Some(Ok(tcp)) => tcp,
        };
        // Without it small frames wait for the peer's acknowledgement; where it can't be set, all still works.
        let _ = tcp.set_nodelay(true);
        let greeted = system::within(HANDSHAKE_LIMIT, async {
            let (read, write) = self.secure(address, &name, tcp).await?;
            self.greet(address, name.clone(), read, write).await
        });
        greeted
            .await
            .unwrap_or_else(|| Err(lost(&name, "it accepted and did not answer")))
    }

    async fn secure(
        &self,
        address: &Address,
        name: &str,
        tcp: TcpStream,
    ) -> Result<(ReadHalf, WriteHalf), Failure> {
        let Some(tls) = &self.tls else {
            let (read, write) = tcp.into_split();
            return Ok((Box::new(read), Box::new(write)));
        };
        let host = ServerName::try_from(address.host.clone())
            .map_err(|_| lost(name, "its host is no name that a certificate could have"))?;
        let stream = tls.connect(host, tcp).await.map_err(|error| {
            let remedy = "if its certificate is from your own authority, add ?ca=FILE to the setting `broker`";
            lost(name, &format!("TLS: {error}; {remedy}"))
        })?;
        let (read, write) = tokio::io::split(stream);
        Ok((Box::new(read), Box::new(write)))
    }

    async fn greet(
        &self,
        address: &Address,
        name: String,
        mut read: ReadHalf,
        mut write: WriteHalf,
    ) -> Result<Dialed, Failure> {
        let mut frame = BytesMut::new();
        self.connect_frame(&mut frame, &address.host);
        let sent = write.write_all(&frame).await;
        let flushed = write.flush().await;
        sent.and(flushed)
            .map_err(|error| lost(&name, &error.to_string()))?;
        let mut buffer = BytesMut::new();
        let answer = self.first_frame(&mut read, &mut buffer, &name).await?;
        let server = answer.header("server").unwrap_or("unknown").to_owned();
        if answer.command != "CONNECTED" || answer.header("version") != Some("1.2") {
            return Err(refusal(&name, &answer));
        }
        let Some((theirs, ours)) = beats(&answer) else {
            self.faults.broken.fetch_add(1, Ordering::Relaxed);
            return Err(lost(
                &name,
                "its `heart-beat` is not two numbers of milliseconds; point the setting `broker` at another",
            ));
        };
        let agreed = |a: Duration, b: Duration| (!a.is_zero() && !b.is_zero()).then(|| a.max(b));
        let connection = Connection::start(Accepted {
            address: name.clone(),
            faults: Arc::clone(&self.faults),
            read,
            write,
            buffer,
            server: server.clone(),
            send_every: agreed(self.heart_beat, ours),
            hear_every: agreed(self.heart_beat, theirs),
        });
        Ok(Dialed {
            connection,
            server,
            address: name,
        })
    }

    async fn first_frame(
        &self,
        read: &mut ReadHalf,
        buffer: &mut BytesMut,
        address: &str,
    ) -> Result<Frame, Failure> {
        let mut decoder = Decoder::default();
        loop {
            match decoder.decode(buffer) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(malformed) => {
                    self.faults.broken.fetch_add(1, Ordering::Relaxed);
                    let remedy = "point the setting `broker` at a STOMP port";
                    return Err(lost(address, &format!("{malformed}; {remedy}")));
                }
            }
            match read.read_buf(buffer).await {
                Ok(0) => return Err(lost(address, "the broker closed it before it answered")),
                Ok(_) => {}
                Err(error) => return Err(lost(address, &error.to_string())),
            }
        }
    }

    fn connect_frame(&self, out: &mut BytesMut, host: &str) {
        let beat = self.heart_beat.as_millis();
        let beat = format!("{beat},{beat}");
        let mut headers = vec![
            ("accept-version", "1.2"),
            ("host", host),
            ("heart-beat", &beat),
        ];
        if let Some(credentials) = &self.target.credentials {
            headers.push(("login", &credentials.user));
            headers.push(("passcode", &credentials.password));
        }
        codec::encode(out, "CONNECT", &headers, b"");
    }
}

fn lost(address: &str, why: &str) -> Failure {
    Failure::Lost {
        address: address.to_owned(),
        why: why.to_owned(),
    }
}

/// How often the broker sends, and how often it wants to hear from us; `None` if it says so in no way that can be read.
/// Without the header neither is promised.
fn beats(answer: &Frame) -> Option<(Duration, Duration)> {
    let parse = |text: &str| {
        let ms: Option<u32> = text.trim().parse().ok();
        ms.map(|ms| Duration::from_millis(u64::from(ms)))
    };
    let Some(said) = answer.header("heart-beat") else {
        return Some((Duration::ZERO, Duration::ZERO));
    };
    let (theirs, ours) = said.split_once(',')?;
    Some((parse(theirs)?, parse(ours)?))
}

fn refusal(address: &str, answer: &Frame) -> Failure {
    let words = match answer.command.as_str() {
        "ERROR" => {
            let words = words_of(answer);
            format!("{words}; check user and password in the setting `broker`")
        }
        "CONNECTED" => {
            "it speaks no STOMP 1.2; point the setting `broker` at a newer broker".to_owned()
        }
        other => {
            format!("{other} instead of CONNECTED; point the setting `broker` at a STOMP port")
        }
    };
    Failure::Refused {
        address: address.to_owned(),
        words,
    }
}

fn tls(target: &Target) -> Result<TlsConnector, UrlError> {
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
    Ok(TlsConnector::from(Arc::new(config)))
}
