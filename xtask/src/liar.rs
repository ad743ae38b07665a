//! A Redis that lies: whoever asks for the lock is told that he has it, and that he keeps it. It speaks as much of the
//! protocol as a client of a lock needs and keeps no expiry and no second opinion. A system whose safety rests on its
//! lock breaks at once; one whose safety rests elsewhere is only busy. One liar for each client: it remembers one value.

use std::io::{BufRead, BufReader, Result, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// No command of a lock has more arguments, or longer ones.
const ARGUMENTS_MAX: usize = 64;
const ARGUMENT_BYTES_MAX: usize = 64 * 1024;
/// How long it claims that the lock lives, in milliseconds.
const LIFE_MS: u64 = 3_600_000;

/// A lying Redis on a loopback port of its own; ends when dropped.
#[derive(Debug)]
pub struct Liar {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ending: AtomicBool,
    /// The last value that anybody set.
    value: Mutex<Option<Vec<u8>>>,
    granted: AtomicU64,
    renewed: AtomicU64,
    /// Commands that it did not know, by name: each is a gap in the lie.
    unknown: Mutex<Vec<String>>,
}

/// What one connection has said.
#[derive(Debug, Default)]
struct Talk {
    /// Commands since MULTI.
    queued: Option<Vec<Vec<Vec<u8>>>>,
    subscribed: bool,
}

impl Liar {
    /// Starts one.
    ///
    /// # Errors
    /// The operating system's, when it refuses a port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let here = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if here.ending.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let here = Arc::clone(&here);
                // A client that goes away ends its thread; nobody waits for it.
                std::thread::spawn(move || {
                    let _ = here.serve(&stream);
                });
            }
        });
        Ok(Self { port, shared })
    }

    /// Its URL: `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How often it gave the lock away.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.shared.granted.load(Ordering::SeqCst)
    }

    /// How often it confirmed a renewal.
    #[must_use]
    pub fn renewed(&self) -> u64 {
        self.shared.renewed.load(Ordering::SeqCst)
    }

    /// Commands that it could not answer.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let unknown = self.shared.unknown.lock();
        unknown.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut talk = Talk::default();
        while let Some(command) = read_command(&mut reader)? {
            if self.ending.load(Ordering::SeqCst) {
                return Ok(());
            }
            let answer = self.answer(&mut talk, command);
            let mut stream = stream;
            stream.write_all(&answer)?;
        }
        Ok(())
    }

    /// The answer to one command, as it goes over the wire.
    fn answer(&self, talk: &mut Talk, command: Vec<Vec<u8>>) -> Vec<u8> {
        let name = word(&command, 0);
        match name.as_str() {
            "MULTI" => {
                talk.queued = Some(Vec::new());
                return b"+OK\r\n".to_vec();
            }
            "EXEC" => {
                let queued = talk.queued.take().unwrap_or_default();
                let mut answer = format!("*{}\r\n", queued.len()).into_bytes();
                for command in queued {
                    answer.extend(self.one(&command));
                }
                return answer;
            }
            "SUBSCRIBE" => {
                talk.subscribed = true;
                let channel = command.get(1).cloned().unwrap_or_default();
                let mut answer = b"*3\r\n$9\r\nsubscribe\r\n".to_vec();
                answer.extend(bulk(&channel));
                answer.extend(b":1\r\n");
                return answer;
            }
            "PING" if talk.subscribed => return b"*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_vec(),
            _ => {}
        }
        if let Some(queued) = &mut talk.queued {
            queued.push(command);
            return b"+QUEUED\r\n".to_vec();
        }
        self.one(&command)
    }

    /// The answer to a command that stands alone.
    fn one(&self, command: &[Vec<u8>]) -> Vec<u8> {
        let name = word(command, 0);
        match name.as_str() {
            "SET" => {
                *self.value() = command.get(2).cloned();
                self.granted.fetch_add(1, Ordering::SeqCst);
                b"+OK\r\n".to_vec()
            }
            "GET" => match &*self.value() {
                Some(value) => bulk(value),
                None => b"$-1\r\n".to_vec(),
            },
            "PTTL" => format!(":{LIFE_MS}\r\n").into_bytes(),
            "PEXPIRE" => {
                self.renewed.fetch_add(1, Ordering::SeqCst);
                b":1\r\n".to_vec()
            }
            "DEL" => b":1\r\n".to_vec(),
            "PUBLISH" => b":0\r\n".to_vec(),
            "PING" => b"+PONG\r\n".to_vec(),
            "CLIENT" | "SELECT" | "WATCH" | "UNWATCH" => b"+OK\r\n".to_vec(),
            _ => {
                let unknown = self.unknown.lock();
                unknown
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(name.clone());
                format!("-ERR unknown command '{name}'\r\n").into_bytes()
            }
        }
    }

    fn value(&self) -> std::sync::MutexGuard<'_, Option<Vec<u8>>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(command: &[Vec<u8>], at: usize) -> String {
    let word = command.get(at).map(Vec::as_slice).unwrap_or_default();
    String::from_utf8_lossy(word).to_ascii_uppercase()
}

fn bulk(value: &[u8]) -> Vec<u8> {
    let mut answer = format!("${}\r\n", value.len()).into_bytes();
    answer.extend(value);
    answer.extend(b"\r\n");
    answer
}

/// The next command; `None` at the end of the stream.
fn read_command(reader: &mut impl BufRead) -> Result<Option<Vec<Vec<u8>>>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let count = number(&line, '*', ARGUMENTS_MAX)?;
    let mut command = Vec::with_capacity(count);
    for _ in 0..count {
        line.clear();
        reader.read_line(&mut line)?;
        let mut argument = vec![0; number(&line, '$', ARGUMENT_BYTES_MAX)?];
        reader.read_exact(&mut argument)?;
        reader.read_exact(&mut [0; 2])?;
        command.push(argument);
    }
    Ok(Some(command))
}

fn number(line: &str, kind: char, most: usize) -> Result<usize> {
    let number = line.trim_end().strip_prefix(kind);
    number
        .and_then(|n| n.parse().ok())
        .filter(|n| *n <= most)
        .ok_or_else(|| std::io::Error::other(format!("not a command of Redis: {line:?}")))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use super::*;

    /// Says commands to `liar` over one connection and gives all that comes back.
    fn ask(liar: &Liar, commands: &[&[&str]], bytes: usize) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", liar.port)) else {
            return String::new();
        };
        for command in commands {
            let words = command.iter().map(|w| format!("${}\r\n{w}\r\n", w.len()));
            let text = format!("*{}\r\n{}", command.len(), words.collect::<String>());
            let _ = stream.write_all(text.as_bytes());
        }
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let mut answer = vec![0; bytes];
        let _ = stream.read_exact(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn everybody_gets_the_lock_and_keeps_it() {
        let liar = Liar::start().unwrap();
        for holder in ["a", "b"] {
            let set = ask(&liar, &[&["SET", "lock", holder, "NX", "PX", "5"]], 5);
            assert_eq!(set, "+OK\r\n");
            let get = ask(&liar, &[&["WATCH", "lock"], &["GET", "lock"]], 12);
            assert_eq!(get, format!("+OK\r\n$1\r\n{holder}\r\n"));
        }
        let renewal: [&[&str]; 3] = [&["MULTI"], &["PEXPIRE", "lock", "5"], &["EXEC"]];
        assert_eq!(ask(&liar, &renewal, 22), "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
        assert_eq!((liar.granted(), liar.renewed()), (2, 1));
        assert!(ask(&liar, &[&["EVAL", "x"]], 4).starts_with("-ERR"));
        assert_eq!(liar.unknown(), ["EVAL"]);
    }

    #[test]
    fn a_subscriber_is_answered_and_nonsense_ends_the_connection() {
        let liar = Liar::start().unwrap();
        let answer = ask(&liar, &[&["SUBSCRIBE", "c"], &["PING"]], 50);
        assert_eq!(
            answer,
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"
        );
        let mut reader = &b"hello\r\n"[..];
        assert!(read_command(&mut reader).is_err());
        let mut reader = &b"*1\r\n$99999999\r\n"[..];
        assert!(read_command(&mut reader).is_err());
    }
}
