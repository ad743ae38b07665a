//! The log of effects, kept outside the product: a small HTTP server that the tasks' handlers call. Each request is one
//! start of one attempt; it is noted with the server's own clock before anything is answered, in memory and in a file
//! that is synced every second, and its end when it was answered or the caller went away. It knows nothing of the store.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Outcome, wall_ms};

/// How a request is answered: the status, after so many milliseconds.
pub type Manner = (u16, u64);

pub const WELL: Manner = (200, 0);
/// A word that no honest task sends: a body that holds it was made up by somebody on the broker.
pub const FORGED: &str = "made-up-on-the-broker";
/// No body of these tests is longer, in bytes.
const BODY_MAX: u64 = 1 << 20;
const SYNC_PERIOD: Duration = Duration::from_secs(1);
/// How soon the server's threads notice that it ends.
const REACTION: Duration = Duration::from_millis(200);

/// One start of one attempt.
#[derive(Debug, Clone)]
pub struct Effect {
    /// The task, as the URL names it.
    pub task: String,
    pub key: String,
    pub run: String,
    pub attempt: u32,
    pub at_ms: i64,
    /// When it was answered, or its caller went away; 0 = neither yet.
    pub ended_ms: i64,
    /// The status of the answer; 0 = nobody waited for one.
    pub status: u16,
    /// Whether its body holds [`FORGED`].
    pub forged: bool,
}

impl Effect {
    /// The due instant that the key names.
    pub fn due_ms(&self) -> Option<i64> {
        self.key.rsplit_once(':')?.1.parse().ok()
    }
}

struct Shared {
    effects: Mutex<Vec<Effect>>,
    ending: AtomicBool,
}

pub struct Effects {
    port: u16,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Effects {
    /// Starts it on a loopback port of its own.
    pub fn start(file: &Path) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            effects: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let file = File::create(file)?;
        let (accepting, writing) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || accept(&listener, &accepting)),
            std::thread::spawn(move || keep(file, &writing)),
        ];
        Ok(Self {
            port,
            shared,
            threads,
        })
    }

    /// Where a task's handler is to send its request; its first attempt is answered one way, every later one another.
    pub fn url(&self, task: &str, first: Manner, then: Manner) -> String {
        let ((status, ms), (later, later_ms)) = (first, then);
        let port = self.port;
        format!("http://127.0.0.1:{port}/{status}-{ms}/{later}-{later_ms}/{task}")
    }

    /// All effects so far, in the order of their arrival.
    pub fn all(&self) -> Vec<Effect> {
        self.shared.lock().clone()
    }

    pub fn last(&self, count: usize) -> Vec<Effect> {
        let effects = self.shared.lock();
        effects[effects.len().saturating_sub(count)..].to_vec()
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Effect>> {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Notes a start; gives its place.
    fn begin(&self, effect: Effect) -> usize {
        let mut effects = self.lock();
        effects.push(effect);
        effects.len() - 1
    }

    fn end(&self, place: usize, status: u16) {
        let mut effects = self.lock();
        effects[place].ended_ms = wall_ms();
        effects[place].status = status;
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ends() {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // A worker that dies breaks its connections: the thread's end is all that matters.
        std::thread::spawn(move || {
            let _ = serve(&stream, &shared);
        });
    }
}

/// Requests of one connection, one after another, until the client closes it.
fn serve(stream: &TcpStream, shared: &Shared) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((path, effect)) = read_request(&mut reader)? {
        let (status, ms) = manner(&path, effect.attempt);
        let place = shared.begin(effect);
        if !stays(stream, Duration::from_millis(ms))? {
            shared.end(place, 0);
            return Ok(());
        }
        // Before the answer is sent: whoever starts because of it must find this one ended.
        shared.end(place, status);
        let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 3\r\n\r\nok\n");
        let mut stream = stream;
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// How an attempt at this path is answered.
fn manner(path: &str, attempt: u32) -> Manner {
    let place = if attempt <= 1 { 1 } else { 2 };
    let word = path.split('/').nth(place).unwrap_or_default();
    let (status, ms) = word.split_once('-').unwrap_or((word, "0"));
    (status.parse().unwrap_or(200), ms.parse().unwrap_or(0))
}

/// Waits; false as soon as the caller goes away.
fn stays(stream: &TcpStream, time: Duration) -> Outcome<bool> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            stream.set_read_timeout(None)?;
            return Ok(true);
        }
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.peek(&mut [0]) {
            Ok(0) => return Ok(false),
            // The next request, before this one's answer: nobody of ours does that, so it is worth no more than a wait.
            Ok(_) => std::thread::sleep(left.min(REACTION)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Ok(false),
        }
    }
}

fn read_request(reader: &mut impl std::io::BufRead) -> Outcome<Option<(String, Effect)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let mut effect = Effect {
        task: path.rsplit('/').next().unwrap_or_default().to_owned(),
        key: String::new(),
        run: String::new(),
        attempt: 0,
        at_ms: 0,
        ended_ms: 0,
        status: 0,
        forged: false,
    };
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err("a request is cut short".into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => value.clone_into(&mut effect.key),
            "campanile-run" => value.clone_into(&mut effect.run),
            "campanile-attempt" => effect.attempt = value.parse()?,
            "content-length" => length = value.parse()?,
            _ => {}
        }
    }
    effect.at_ms = wall_ms();
    let mut body = Vec::new();
    reader.take(length.min(BODY_MAX)).read_to_end(&mut body)?;
    effect.forged = String::from_utf8_lossy(&body).contains(FORGED);
    Ok(Some((path, effect)))
}

/// Writes what came in to the file, and the file to the disk.
fn keep(mut file: File, shared: &Shared) {
    let mut written = 0;
    let mut since_sync = Duration::ZERO;
    loop {
        let last = shared.ends();
        std::thread::sleep(REACTION);
        since_sync += REACTION;
        if since_sync < SYNC_PERIOD && !last {
            continue;
        }
        since_sync = Duration::ZERO;
        let fresh: Vec<Effect> = shared.lock()[written..].to_vec();
        written += fresh.len();
        let lines: String = fresh
            .iter()
            .map(|e| {
                format!(
                    "{}\t{}\t{}\t{}\t{}\n",
                    e.at_ms, e.task, e.key, e.run, e.attempt
                )
            })
            .collect();
        // The memory is what is judged; the file is for people.
        let _ = file
            .write_all(lines.as_bytes())
            .and_then(|()| file.sync_data());
        if last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_kept_connection_are_told_apart() {
        let text = "POST /200-0/200-0/a HTTP/1.1\r\nIdempotency-Key: a:17\r\nCampanile-Run: r\r\nCampanile-Attempt: 2\r\n\
                    content-length: 4\r\n\r\nbodyGET /200-0/200-0/b HTTP/1.1\r\n\r\n";
        let mut reader = text.as_bytes();
        let (path, first) = read_request(&mut reader).unwrap().unwrap();
        assert_eq!(
            (path.as_str(), first.task.as_str(), first.attempt),
            ("/200-0/200-0/a", "a", 2)
        );
        assert_eq!(first.due_ms(), Some(17));
        let (_, second) = read_request(&mut reader).unwrap().unwrap();
        assert_eq!((second.task.as_str(), second.due_ms()), ("b", None));
        assert!(read_request(&mut reader).unwrap().is_none());
        assert_eq!(manner("/503-250/200-0/x", 1), (503, 250));
        assert_eq!(manner("/503-250/200-0/x", 3), (200, 0));
    }

    /// Sends a request and gives the first line of the answer.
    fn ask(effects: &Effects, url: &str, key: &str, attempt: u32) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", effects.port)) else {
            return String::new();
        };
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nIdempotency-Key: {key}\r\nCampanile-Attempt: {attempt}\r\n\r\n"
        );
        let _ = stream.write_all(request.as_bytes());
        let mut answer = [0; 12];
        let _ = stream.read_exact(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn a_flaky_effect_fails_once_and_a_lasting_one_ends_when_its_caller_goes() {
        let folder = xtask::servers::TempDir::new("effects").unwrap();
        let effects = Effects::start(&folder.join("effects.tsv")).unwrap();
        let url = effects.url("f", (503, 0), WELL);
        assert_eq!(ask(&effects, &url, "f:1", 1), "HTTP/1.1 503");
        assert_eq!(ask(&effects, &url, "f:1", 2), "HTTP/1.1 200");
        let url = effects.url("long", (200, 60), WELL);
        assert_eq!(ask(&effects, &url, "long:1", 1), "HTTP/1.1 200");
        let mut gone = TcpStream::connect(("127.0.0.1", effects.port)).unwrap();
        gone.write_all(b"POST /200-60000/200-0/gone HTTP/1.1\r\nIdempotency-Key: gone:1\r\n\r\n")
            .unwrap();
        let limit = Duration::from_secs(10);
        xtask::servers::wait_until("it arrives", limit, || effects.all().len() == 4);
        assert_eq!(effects.all()[3].ended_ms, 0);
        drop(gone);
        xtask::servers::wait_until("its end is noted", limit, || effects.all()[3].ended_ms > 0);
        let all = effects.all();
        assert_eq!((all[3].status, all[2].status), (0, 200));
        assert!(all[2].ended_ms - all[2].at_ms >= 60);
    }
}
