//! The way of a connection: taken, given a place, its handshake done, its requests handed to the router, its end. Each
//! connection is a task of its own from its first moment, so that nobody waits for anybody else's silence. It decides
//! neither who has a place nor what is answered.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use campanile_core::system;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::odd;
use super::patience::{Limits, Patient, Standing};
use super::places::{Place, Places};
use super::tls::Certificate;
use crate::api::logs::Closing;

/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// The wait after an error of the listening socket (no descriptor free).
const ACCEPT_WAIT: Duration = Duration::from_millis(100);
/// The log has one line about connections that could not be taken in this time.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(10);
/// The head of a request, and the bytes of a body that are read ahead.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 100;

/// What a newcomer is told for whom there is no place.
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 120\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"all connections are in use: \
    try again later\"}";

/// What all connections share.
pub(super) struct Door {
    pub(super) router: Router,
    pub(super) places: Arc<Places>,
    pub(super) tls: Option<Certificate>,
    /// No more requests; those under way may end.
    pub(super) closing: CancellationToken,
    /// No more patience.
    pub(super) over: CancellationToken,
}

impl Door {
    /// Takes connections until it closes, and waits for those that are open.
    pub(super) async fn open(self, tcp: TcpListener) {
        let door = Arc::new(self);
        let tracker = TaskTracker::new();
        tokio::select! {
            biased;
            () = door.closing.cancelled() => {}
            () = door.accept_all(&tcp, &tracker) => {}
        }
        drop(tcp);
        tracker.close();
        tracker.wait().await;
    }

    async fn accept_all(self: &Arc<Self>, tcp: &TcpListener, tracker: &TaskTracker) {
        let clock = system::SystemClock::new();
        let mut complaint = Complaint::new(&clock);
        loop {
            self.places.settled().await;
            let (stream, peer) = match tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) if of_one_connection(&error) => continue,
                Err(error) => {
                    complaint.say(|count| {
                        tracing::warn!(%error, count, "connections could not be taken: {error}; {count} times since the last such line");
                    });
                    system::pause(ACCEPT_WAIT).await;
                    continue;
                }
            };
            let Some(place) = self.places.take(peer.ip(), &self.over) else {
                complaint.say(|count| {
                    tracing::warn!(%peer, count, "all connections are in use: {count} were turned away since the last such line");
                });
                turn_away(stream, self.tls.is_none());
                continue;
            };
            system::spawn(tracker.track_future(Arc::clone(self).connection(stream, peer, place)));
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        // Small answers must not wait for the client's acknowledgement; where it can't be set, all still works.
        let _ = stream.set_nodelay(true);
        let (leave, standing) = (place.leave.clone(), Arc::clone(&place.standing));
        let served = async {
            let Some(tls) = &self.tls else {
                return self.serve(stream, peer, standing).await;
            };
            match system::within(HANDSHAKE_LIMIT, tls.acceptor().accept(stream)).await {
                Some(Ok(stream)) => self.serve(stream, peer, standing).await,
                Some(Err(error)) => tracing::debug!(%error, %peer, "a TLS handshake failed"),
                None => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        };
        tokio::select! {
            biased;
            () = leave.cancelled() => {}
            () = served => {}
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: SocketAddr,
        standing: Arc<Standing>,
    ) {
        let io = TokioIo::new(Patient::new(
            stream,
            Arc::clone(&standing),
            Limits::default(),
        ));
        let service = service_fn(|request| self.answer(request, peer, &standing));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The head's time is kept by `Patient`, which tells it from the rest between requests.
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(io, service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            ended = connection.as_mut() => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %peer, "a connection ended");
        }
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
        standing: &Arc<Standing>,
    ) -> Result<Response<Answered>, Infallible> {
        let head = standing.begin();
        let done = Done(Arc::clone(standing));
        let mut request: Request = request.map(|body| {
            Body::new(Asked {
                ended: body.is_end_stream(),
                body,
                standing: Arc::clone(standing),
            })
        });
        let problem = odd::refusal(&request, head);
        let is_odd = problem.is_some();
        let mut response = if let Some(problem) = problem {
            drop(request);
            problem.into_response()
        } else {
            request.extensions_mut().insert(ConnectInfo(peer));
            let closing = Closing(self.closing.clone());
            request.extensions_mut().insert(closing);
            let Ok(response) = self.router.clone().oneshot(request).await;
            response
        };
        // What was left of a body would be read as the next request: the connection ends, and the client is told, so
        // that it doesn't send its next one into the end.
        if is_odd || standing.is_unread() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response.map(|body| Answered { body, done }))
    }
}

/// A request's body, which says whether it was left before its end.
struct Asked {
    body: Incoming,
    ended: bool,
    standing: Arc<Standing>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.standing.left_unread();
        }
    }
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Says that the request is answered, however that comes about.
struct Done(Arc<Standing>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// An answer's body; once it is sent or dropped, the connection rests.
struct Answered {
    body: Body,
    #[expect(dead_code, reason = "it is held for its drop")]
    done: Done,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Errors of `accept` that are about the connection that was to be taken, and about nothing else.
fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Says why, if it can be said in the clear, and closes.
fn turn_away(stream: TcpStream, plain: bool) {
    use std::io::Write as _;
    if let (true, Ok(mut stream)) = (plain, stream.into_std()) {
        // Whether it arrives or not, nobody is waited for.
        let _ = stream.write(FULL.as_bytes());
    }
}

/// A line of the log that may come as fast as anybody likes, told now and then with its number.
struct Complaint<'a> {
    clock: &'a system::SystemClock,
    last: Option<campanile_core::time::Monotonic>,
    count: u64,
}

impl<'a> Complaint<'a> {
    const fn new(clock: &'a system::SystemClock) -> Self {
        Self {
            clock,
            last: None,
            count: 0,
        }
    }

    fn say(&mut self, line: impl FnOnce(u64)) {
        use campanile_core::port::clock::Clock as _;
        self.count += 1;
        let now = self.clock.monotonic();
        if self.last.is_some_and(|at| now.since(at) < COMPLAINT_PERIOD) {
            return;
        }
        self.last = Some(now);
        line(std::mem::take(&mut self.count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_full_house_is_an_answer() {
        let (head, body) = FULL.split_once("\r\n\r\n").unwrap();
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{length}");
        let problem: crate::api::problem::Problem = serde_json::from_str(body).unwrap();
        assert_eq!(problem.status, 503);
    }
}
