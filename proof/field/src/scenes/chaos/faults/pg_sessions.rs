//! Idle sessions of PostgreSQL, as many as it takes: only as much of its protocol as a session needs to be there and to
//! be told that there is no room for another.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

const LIMIT: Duration = Duration::from_secs(5);
/// Version 3.0 of the protocol.
const VERSION: u32 = 196_608;

/// What a try to open a session came to.
pub enum Opened {
    /// A session; it lasts as long as the value.
    Yes(TcpStream),
    No(String),
}

/// Tries to open one as the user and database `postgres`, without a password.
pub fn open(port: u16) -> Outcome<Opened> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&hello())?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; usize::try_from(length)?.saturating_sub(4).min(64 * 1024)];
        stream.read_exact(&mut body)?;
        match head[0] {
            b'E' => return Ok(Opened::No(message(&body))),
            // Ready for the first question.
            b'Z' => return Ok(Opened::Yes(stream)),
            _ => {}
        }
    }
}

fn hello() -> Vec<u8> {
    let mut body = VERSION.to_be_bytes().to_vec();
    body.extend(b"user\0postgres\0database\0postgres\0application_name\0crowd\0\0");
    let length = u32::try_from(body.len() + 4).unwrap_or(0);
    [&length.to_be_bytes()[..], &body].concat()
}

/// The message among the fields of a refusal.
fn message(body: &[u8]) -> String {
    body.split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"))
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_there_and_a_refusal_is_read() {
        let fields = b"SFATAL\0C53300\0Msorry, too many clients already\0\0";
        assert_eq!(message(fields), "sorry, too many clients already");
        let Some(server) = xtask::or_skip(xtask::servers::Postgres::shared()) else {
            return;
        };
        let Opened::Yes(_session) = open(server.port()).unwrap() else {
            panic!("no session");
        };
        let crowd = "SELECT COUNT(*) > 0 FROM pg_stat_activity WHERE application_name = 'crowd'";
        assert_eq!(server.sql(crowd).unwrap().trim(), "t");
    }
}
