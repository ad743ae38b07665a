//! Bodies of requests as bytes: one budget for all that are being read or worked on, a limit for each that is checked
//! before a byte is read, and a pace at which they must come. It never looks at what a body says.

use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use campanile_core::limits;
use campanile_core::port::clock::Clock as _;
use campanile_core::system::{self, Pool, SystemClock};
use campanile_schedule::fuel::Fuel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bulk::{Gather, Gathered, Reader};
use super::problem::Problem;
use crate::config::{Doors, format_size};

/// How long a request waits for room before it is told to come back.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// How long a body may stand still.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// How fast a body has to come, in the long run.
const BYTES_PER_SECOND_MIN: u64 = 8 * 1024;
/// What is read from a body is larger than the body: it counts four times, a large one this much more than itself.
const READ_SHARE_BYTES_MAX: usize = 3 * 1024 * 1024;
/// What one permit of the budget stands for.
const UNIT_BYTES: usize = 1024;
/// Bodies over this are read aside, so that the runtime's threads are free meanwhile.
const INLINE_BYTES_MAX: usize = 32 * 1024;
/// So much of a body that is read while it arrives goes to its reader at once.
const PIECE_BYTES: usize = 256 * 1024;

/// How large a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// One thing: [`limits::BODY_BYTES_MAX`].
    Ordinary,
    /// So many things of this name: what the settings say.
    Bulk(usize, &'static str),
}

/// The room that all bodies share.
#[derive(Debug)]
pub struct Bodies {
    room: Arc<Semaphore>,
    /// One body over the ordinary limit at a time: what is read from it is large.
    bulk: Arc<Semaphore>,
    bulk_bytes: usize,
    /// Where large bodies are read.
    pool: Pool,
}

/// What a request holds of it until it is answered.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<Vec<OwnedSemaphorePermit>>>);

/// For routes that were built without [`bounded`] around them: tests.
static FALLBACK: LazyLock<Arc<Bodies>> =
    LazyLock::new(|| Arc::new(Bodies::of(&Doors::default(), Pool::inline())));

/// Gives each request its share of the room, and takes it back with the answer.
pub async fn bounded(
    State(bodies): State<Arc<Bodies>>,
    mut request: Request,
    next: Next,
) -> Response {
    let held = Held::default();
    request.extensions_mut().insert(bodies);
    request.extensions_mut().insert(held.clone());
    let response = next.run(request).await;
    drop(held);
    response
}

impl Bodies {
    /// As the settings say.
    #[must_use]
    pub fn of(doors: &Doors, pool: Pool) -> Self {
        let units = (doors.bytes_in_flight / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(units)),
            bulk: Arc::new(Semaphore::new(1)),
            bulk_bytes: doors.bulk_bytes,
            pool,
        }
    }

    /// Those that a request was given.
    pub(super) fn given_to(request: &Request) -> Arc<Self> {
        let shared = request.extensions().get::<Arc<Self>>();
        Arc::clone(shared.unwrap_or(&FALLBACK))
    }

    /// Where large bodies are read.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    fn most(&self, size: Size) -> usize {
        match size {
            Size::Ordinary => limits::BODY_BYTES_MAX,
            Size::Bulk(..) => self.bulk_bytes,
        }
    }

    fn too_large(&self, size: Size) -> Problem {
        let most = self.most(size);
        let detail = match size {
            Size::Ordinary => {
                format!("the body is over the limit of {most} bytes: send less at once")
            }
            Size::Bulk(count, what) => format!(
                "the body is over the limit of {} (setting `max_bulk_body`) or {count} {what}, whichever comes first: send it in \
                 several requests",
                format_size(most)
            ),
        };
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    async fn wait_for(room: &Arc<Semaphore>, units: u32) -> Result<OwnedSemaphorePermit, Problem> {
        let taken = Arc::clone(room).acquire_many_owned(units);
        match system::within(ROOM_WAIT, taken).await {
            Some(Ok(permit)) => Ok(permit),
            _ => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "other requests' bodies fill the room that there is for all (setting `max_bytes_in_flight`): try again",
            )),
        }
    }
}

/// What a body of this length takes of the room.
fn units_of(bytes: usize) -> u32 {
    let all = bytes.saturating_add(bytes.saturating_mul(3).min(READ_SHARE_BYTES_MAX));
    u32::try_from(all.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}

/// The whole body of a request.
///
/// # Errors
/// 413 before anything is read, where the request says how long its body is; 503 if there is no room for it; 408 if it
/// does not come.
pub async fn collect(request: Request, size: Size) -> Result<Vec<u8>, Problem> {
    let mut arriving = Arriving::admit(request, size).await?;
    let mut bytes = Vec::new();
    while let Some(data) = arriving.next().await? {
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Reads a body while it arrives: what is held of it is a piece and what was gathered.
///
/// # Errors
/// As [`collect`]; what its reader refuses, as soon as that has come.
pub async fn gather<G: Gather>(request: Request, size: Size) -> Result<Gathered<G>, Problem> {
    let bodies = Bodies::given_to(&request);
    let mut arriving = Arriving::admit(request, size).await?;
    let mut reader = Reader::<G>::default();
    let mut piece = Vec::new();
    loop {
        let data = arriving.next().await?;
        let ended = data.is_none();
        piece.extend_from_slice(&data.unwrap_or_default());
        if ended || piece.len() >= PIECE_BYTES {
            let (bytes, some) = (piece.len(), std::mem::take(&mut piece));
            let feed = move |fuel: &Fuel| reader.feed(&some, fuel).map(|()| (reader, some));
            (reader, piece) = aside(bodies.pool(), bytes, feed).await?;
            piece.clear();
        }
        if ended {
            return reader.finish();
        }
    }
}

/// A body on its way, for which there is room.
struct Arriving {
    bodies: Arc<Bodies>,
    body: Body,
    size: Size,
    clock: SystemClock,
    taken: usize,
}

impl Arriving {
    async fn admit(request: Request, size: Size) -> Result<Self, Problem> {
        let bodies = Bodies::given_to(&request);
        let (parts, body) = request.into_parts();
        let held = parts.extensions.get::<Held>().cloned().unwrap_or_default();
        let most = bodies.most(size);
        let hint = body.size_hint();
        let declared = hint.exact().unwrap_or_else(|| hint.lower());
        if declared > most as u64 {
            return Err(bodies.too_large(size));
        }
        // One that does not say how long it is may become as long as it may.
        let expected = hint
            .exact()
            .map_or(most, |n| usize::try_from(n).unwrap_or(most));
        let mut permits = Vec::new();
        if expected > limits::BODY_BYTES_MAX {
            permits.push(Bodies::wait_for(&bodies.bulk, 1).await?);
        }
        permits.push(Bodies::wait_for(&bodies.room, units_of(expected)).await?);
        held.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(&mut permits);
        Ok(Self {
            bodies,
            body,
            size,
            clock: SystemClock::new(),
            taken: 0,
        })
    }

    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let body = &mut self.body;
            let next = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            let frame = match system::within(STALL_LIMIT, next).await {
                None => return Err(late()),
                Some(None) => return Ok(None),
                Some(Some(Ok(frame))) => frame,
                Some(Some(Err(_))) => {
                    let detail = "the body broke off before its end: send it again";
                    return Err(Problem::bad(None, detail));
                }
            };
            let data = frame.into_data().unwrap_or_default();
            self.taken += data.len();
            if self.taken > self.bodies.most(self.size) {
                return Err(self.bodies.too_large(self.size));
            }
            if self.clock.monotonic().as_ms() > allowed_ms(self.taken as u64) {
                return Err(late());
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

/// How long so much of a body may take.
fn allowed_ms(bytes: u64) -> u64 {
    let grace = u64::try_from(STALL_LIMIT.as_millis()).unwrap_or(u64::MAX);
    grace.saturating_add(bytes.saturating_mul(1_000) / BYTES_PER_SECOND_MIN)
}

fn late() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        format!(
            "the body does not come: send it at {BYTES_PER_SECOND_MIN} bytes a second or more, without a break of {} s",
            STALL_LIMIT.as_secs()
        ),
    )
}

/// Does work on a body of this length: on the threads that compute, if it may take more than a moment. It is given up
/// when the client is gone.
///
/// # Errors
/// Those threads have too much to do; the node is stopping.
pub async fn aside<T: Send + 'static>(
    pool: &Pool,
    bytes: usize,
    work: impl FnOnce(&Fuel) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if bytes <= INLINE_BYTES_MAX {
        return work(&Fuel::endless());
    }
    pool.run(work).await.map_err(campanile_ask::Error::from)?
}

/// How many values a JSON text holds at most, without reading them: every value but the first stands behind a comma or an
/// opening bracket.
#[must_use]
pub fn values_in(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1_usize, false, false);
    for byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_string = true,
                b',' | b'[' | b'{' => count += 1,
                _ => {}
            }
        }
    }
    count
}

/// Refuses a JSON text of more values than a request may hold: each takes many times its own bytes once it is read.
///
/// # Errors
/// The limit.
pub fn check_values(json: &[u8]) -> Result<usize, Problem> {
    let count = values_in(json);
    if count <= limits::BODY_VALUES_MAX {
        return Ok(count);
    }
    let detail = format!(
        "the body holds over {} values: write it as fewer, longer ones, or as a text",
        limits::BODY_VALUES_MAX
    );
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn doors(bytes_in_flight: usize) -> Doors {
        Doors {
            bytes_in_flight,
            bulk_bytes: 2 * MIB,
            ..Doors::default()
        }
    }

    fn request(bodies: &Arc<Bodies>, body: Body) -> (Request, Held) {
        let held = Held::default();
        let mut request = Request::new(body);
        request.extensions_mut().insert(Arc::clone(bodies));
        request.extensions_mut().insert(held.clone());
        (request, held)
    }

    #[test]
    fn values_are_counted_without_reading_them() {
        for (json, most) in [
            ("1", 1),
            ("[]", 2),
            ("[1,2,3]", 4),
            (r#"{"a":[1,{"b":2}],"c":",[{"}"#, 6),
            (r#"["\",\\",1]"#, 3),
        ] {
            assert_eq!(values_in(json.as_bytes()), most, "{json}");
        }
        let flood = format!("[{}0]", "0,".repeat(limits::BODY_VALUES_MAX));
        assert!(check_values(flood.as_bytes()).is_err());
    }

    #[tokio::test]
    async fn a_body_is_refused_by_its_length_before_it_is_read() {
        let bodies = Arc::new(Bodies::of(&doors(8 * MIB), Pool::inline()));
        for (size, bytes, part) in [
            (Size::Ordinary, MIB + 1, "limit of 1048576 bytes"),
            (Size::Bulk(10_000, "runs"), 2 * MIB + 1, "limit of 2MiB"),
            (Size::Bulk(10_000, "runs"), 2 * MIB + 1, "or 10000 runs"),
        ] {
            let (request, _) = request(&bodies, Body::from(vec![b' '; bytes]));
            let problem = collect(request, size).await.unwrap_err();
            assert_eq!(problem.status, 413);
            assert!(problem.detail.contains(part), "{}", problem.detail);
        }
        let (request, _) = request(&bodies, Body::from(vec![b' '; MIB]));
        assert_eq!(collect(request, Size::Ordinary).await.unwrap().len(), MIB);
    }

    #[tokio::test]
    async fn the_room_is_held_until_the_answer_and_no_longer() {
        let bodies = Arc::new(Bodies::of(&doors(8 * MIB), Pool::inline()));
        let all = bodies.room.available_permits();
        let (first, held) = request(&bodies, Body::from(vec![b' '; MIB]));
        collect(first, Size::Ordinary).await.unwrap();
        assert_eq!(bodies.room.available_permits(), all - 4 * 1_024);
        let (large, held_too) = request(&bodies, Body::from(vec![b' '; 2 * MIB]));
        let waiting = collect(large, Size::Bulk(1, "x"));
        let waiting = system::within(Duration::from_millis(20), waiting);
        assert!(waiting.await.is_none(), "5 MiB don't fit into 4");
        drop((held, held_too));
        assert_eq!(bodies.room.available_permits(), all);
        assert_eq!(bodies.bulk.available_permits(), 1);
    }

    #[test]
    fn a_body_counts_for_what_is_read_from_it() {
        assert_eq!(units_of(0), 1);
        assert_eq!(units_of(1_024), 4);
        assert_eq!(units_of(MIB), 4 * 1_024);
        assert_eq!(units_of(16 * MIB), 19 * 1_024);
        assert_eq!(allowed_ms(0), 10_000);
        assert_eq!(allowed_ms(16 * MIB as u64), 10_000 + 2_048_000);
    }
}
