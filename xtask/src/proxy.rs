//! A TCP proxy that breaks connections on purpose: between a client and a server on loopback it passes, delays, holds
//! or swallows bytes, one direction at a time, and cuts or resets what is open. It knows no protocol. A fault is
//! switched while connections run, so that a test says "now the network to the database is gone" in one line.

mod tally;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Result, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

use tally::Counters;
pub use tally::Tally;

/// How soon a running connection follows a switched fault.
const REACTION: Duration = Duration::from_millis(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes held for a delay before the proxy stops reading, as a full pipe would.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    Pass,
    /// Each arrives this much later, in order.
    Delay(Duration),
    /// The proxy stops reading: nothing passes, the sender's buffers fill up, and all goes on after [`Fault::Pass`]. A
    /// network that comes back.
    Stall,
    /// They vanish, an end of stream too: the peer waits on a half-open connection. A connection that lost bytes stays
    /// silent in this direction for good; new ones follow the next fault.
    Blackhole,
    /// So many more bytes pass on each connection, then it is closed on both sides, in the middle of whatever it was.
    CutAfter(u64),
}

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
    /// Both ways.
    Both,
}

/// A running proxy on a loopback port of its own; ends, with its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    /// For `Up` and `Down`.
    settings: [Mutex<Setting>; 2],
    refusing: AtomicBool,
    ending: AtomicBool,
    counters: Counters,
    links: Mutex<Vec<Arc<Link>>>,
}

/// What holds for one direction.
#[derive(Debug, Clone, Copy)]
struct Setting {
    fault: Fault,
    /// Grows with each switch, so that `CutAfter` counts from its own.
    switch: u64,
}

/// One connection through the proxy. The sockets close when its two threads have let go of it.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    over: AtomicBool,
    ended: [AtomicBool; 2],
}

impl Proxy {
    /// Starts a proxy in front of the server at this loopback port; everything passes.
    ///
    /// # Errors
    /// The operating system's, when it refuses a port.
    pub fn start(target_port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let passing = Setting {
            fault: Fault::Pass,
            switch: 0,
        };
        let shared = Arc::new(Shared {
            target: SocketAddr::from(([127, 0, 0, 1], target_port)),
            settings: [Mutex::new(passing), Mutex::new(passing)],
            refusing: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            counters: Counters::default(),
            links: Mutex::default(),
        });
        let here = shared.clone();
        std::thread::spawn(move || accept(&listener, &here));
        Ok(Self { port, shared })
    }

    /// The port to give to the client instead of the server's.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Switches the fault of a direction, for open connections and new ones.
    pub fn set(&self, direction: Direction, fault: Fault) {
        let ways: &[usize] = match direction {
            Direction::Up => &[0],
            Direction::Down => &[1],
            Direction::Both => &[0, 1],
        };
        for &way in ways {
            let mut setting = lock(&self.shared.settings[way]);
            *setting = Setting {
                fault,
                switch: setting.switch + 1,
            };
        }
    }

    /// Lets everything pass again and takes new connections.
    pub fn heal(&self) {
        self.shared.refusing.store(false, Ordering::SeqCst);
        self.set(Direction::Both, Fault::Pass);
    }

    /// Resets every open connection (RST on both sides); new ones are taken.
    pub fn reset(&self) {
        for link in lock(&self.shared.links).drain(..) {
            if !link.over.load(Ordering::SeqCst) {
                Counters::add(&self.shared.counters.reset, 1);
            }
            link.reset();
        }
    }

    /// Resets each new connection at once, or takes them again. Open ones go on.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
    }

    /// What the faults have done so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.shared.counters.now()
    }

    /// Remembers the last bytes that clients send, at most so many.
    pub fn remember(&self, bytes_max: usize) {
        self.shared.counters.remember(bytes_max);
    }

    /// The last bytes that clients sent, of all connections in the order of their arrival.
    #[must_use]
    pub fn remembered(&self) -> Vec<u8> {
        self.shared.counters.remembered()
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        lock(&self.shared.links)
            .iter()
            .filter(|link| !link.over.load(Ordering::SeqCst))
            .count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.reset();
        // Wakes the thread that accepts, which then ends and closes the port.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let refusing = shared.refusing.load(Ordering::SeqCst);
        let server = if refusing {
            None
        } else {
            TcpStream::connect_timeout(&shared.target, CONNECT_LIMIT).ok()
        };
        let Some(server) = server else {
            if refusing {
                Counters::add(&shared.counters.reset, 1);
            }
            reset_on_close(&client);
            continue;
        };
        let Ok(link) = Link::new(client, server) else {
            continue;
        };
        let link = Arc::new(link);
        lock(&shared.links).retain(|link| !link.over.load(Ordering::SeqCst));
        lock(&shared.links).push(link.clone());
        for way in [0, 1] {
            let (link, shared) = (link.clone(), shared.clone());
            std::thread::spawn(move || pump(way, &link, &shared));
        }
    }
}

fn reset_on_close(stream: &TcpStream) {
    // Closing with a linger of zero sends RST. Where it can't be set, the peer sees an orderly end instead.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

impl Link {
    fn new(client: TcpStream, server: TcpStream) -> Result<Self> {
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(REACTION))?;
            stream.set_write_timeout(Some(REACTION))?;
        }
        let ended = [AtomicBool::new(false), AtomicBool::new(false)];
        Ok(Self {
            client,
            server,
            over: AtomicBool::new(false),
            ended,
        })
    }

    fn reset(&self) {
        reset_on_close(&self.client);
        reset_on_close(&self.server);
        self.over.store(true, Ordering::SeqCst);
    }

    fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// One direction of one connection.
struct Pump<'a> {
    way: usize,
    link: &'a Link,
    shared: &'a Shared,
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// What was read and is to arrive later.
    held: VecDeque<(Instant, Vec<u8>)>,
    held_bytes: usize,
    /// The sender has ended its stream.
    at_end: bool,
    lost_bytes: bool,
    buffer: Vec<u8>,
    /// The switch that a cut belongs to, and what may still pass.
    cut: (u64, u64),
}

fn pump(way: usize, link: &Link, shared: &Shared) {
    let (from, to) = if way == 0 {
        (&link.client, &link.server)
    } else {
        (&link.server, &link.client)
    };
    let mut pump = Pump {
        way,
        link,
        shared,
        from,
        to,
        held: VecDeque::new(),
        held_bytes: 0,
        at_end: false,
        lost_bytes: false,
        buffer: vec![0; CHUNK_BYTES],
        cut: (u64::MAX, 0),
    };
    while !link.over.load(Ordering::SeqCst) {
        match pump.step() {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => link.reset(),
        }
    }
    // The list of links holds the sockets open; an orderly end closes them here, once both directions are through.
    link.ended[way].store(true, Ordering::SeqCst);
    if link.ended.iter().all(|ended| ended.load(Ordering::SeqCst)) {
        link.close();
        lock(&shared.links).retain(|other| !other.over.load(Ordering::SeqCst));
    }
}

impl Pump<'_> {
    /// Reads and forwards once, for at most a few [`REACTION`]s; whether there is more to do.
    fn step(&mut self) -> Result<bool> {
        let stalled = self.setting().fault == Fault::Stall;
        if stalled {
            self.look();
        }
        let arrived = if stalled || self.at_end || self.held_bytes > HELD_BYTES_MAX {
            std::thread::sleep(REACTION);
            None
        } else {
            self.read()
        };
        // Asked again: what was sent after a switch must not pass under the fault before it.
        let setting = self.setting();
        if let Some(arrived) = arrived {
            self.take(arrived, setting.fault)?;
        }
        if let Fault::CutAfter(bytes) = setting.fault
            && self.cut.0 != setting.switch
        {
            self.cut = (setting.switch, bytes);
        }
        if setting.fault == Fault::Stall {
            return Ok(true);
        }
        self.deliver(setting.fault)?;
        if self.at_end && self.held.is_empty() && !self.lost_bytes {
            // The other side may have closed already.
            let _ = self.to.shutdown(Shutdown::Write);
            return Ok(false);
        }
        Ok(true)
    }

    /// Counts a stall that really holds something up.
    fn look(&self) {
        let waits = matches!(self.from.peek(&mut [0]), Ok(length) if length > 0);
        if waits {
            Counters::add(&self.shared.counters.stalled_looks, 1);
        }
    }

    fn setting(&self) -> Setting {
        *lock(&self.shared.settings[self.way])
    }

    /// What came from the sender while we waited for it, or for the next bytes to fall due.
    fn read(&mut self) -> Option<Result<usize>> {
        let wait = self.held.front().map_or(REACTION, |(due, _)| {
            due.saturating_duration_since(Instant::now())
        });
        let limit = wait.clamp(Duration::from_millis(1), REACTION);
        let mut from = self.from;
        let result = from
            .set_read_timeout(Some(limit))
            .and_then(|()| from.read(&mut self.buffer));
        if matches!(&result, Err(error) if is_pause(error.kind())) {
            None
        } else {
            Some(result)
        }
    }

    fn take(&mut self, arrived: Result<usize>, fault: Fault) -> Result<()> {
        if fault == Fault::Blackhole || self.lost_bytes {
            self.lost_bytes = true;
            if let Ok(length) = &arrived {
                Counters::add(&self.shared.counters.lost_bytes, *length);
            }
            // An end or a reset doesn't pass where nothing does.
            self.at_end = !matches!(arrived, Ok(length) if length > 0);
            return Ok(());
        }
        let length = arrived?;
        self.at_end = length == 0;
        if length > 0 {
            if self.way == 0 {
                self.shared.counters.note(&self.buffer[..length]);
            }
            let delay = if let Fault::Delay(delay) = fault {
                Counters::add(&self.shared.counters.delayed_bytes, length);
                delay
            } else {
                Duration::ZERO
            };
            self.held
                .push_back((Instant::now() + delay, self.buffer[..length].to_vec()));
            self.held_bytes += length;
        }
        Ok(())
    }

    /// Writes what is due.
    fn deliver(&mut self, fault: Fault) -> Result<()> {
        while let Some((due, chunk)) = self.held.front_mut() {
            if *due > Instant::now() || self.link.over.load(Ordering::SeqCst) {
                return Ok(());
            }
            let allowed = if matches!(fault, Fault::CutAfter(_)) {
                self.cut.1
            } else {
                u64::MAX
            };
            let length = chunk
                .len()
                .min(usize::try_from(allowed).unwrap_or(usize::MAX));
            let mut to = self.to;
            let written = match to.write(&chunk[..length]) {
                Ok(written) => written,
                Err(error) if is_pause(error.kind()) => return Ok(()),
                Err(error) => return Err(error),
            };
            chunk.drain(..written);
            let empty = chunk.is_empty();
            self.held_bytes -= written;
            if empty {
                self.held.pop_front();
            }
            if matches!(fault, Fault::CutAfter(_)) {
                self.cut.1 = allowed.saturating_sub(written as u64);
                if self.cut.1 == 0 {
                    Counters::add(&self.shared.counters.cut, 1);
                    self.link.close();
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
