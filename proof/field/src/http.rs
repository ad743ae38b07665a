//! One HTTP request to a node and its whole answer: enough to ask an API that is watched from outside. Every wait is
//! bounded, because the node may be stopped on purpose.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Outcome;

/// The token of every node's API and metrics; nothing but the field ever accepts it.
pub const TOKEN: &str = "field-Wd7kQ2vTz9RbXn4LsYp1";
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How often somebody who waits looks whether it is still worth it.
const LOOK: Duration = Duration::from_millis(50);

/// Sends a request to a loopback port; gives the status and the body.
pub fn call(port: u16, method: &str, path: &str) -> Outcome<(u16, String)> {
    send(port, method, path, "")
}

/// The same with a body of JSON; an empty one is none.
pub fn send(port: u16, method: &str, path: &str, json: &str) -> Outcome<(u16, String)> {
    send_unless(port, method, path, json, &|| false)
}

/// The same, without waiting for the answer any longer once `gives_up` says so: of a node that stands on purpose.
pub fn send_unless(
    port: u16,
    method: &str,
    path: &str,
    json: &str,
    gives_up: &dyn Fn() -> bool,
) -> Outcome<(u16, String)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{json}",
        json.len()
    );
    stream.write_all(request.as_bytes())?;
    let end = Instant::now() + ANSWER_LIMIT;
    let (mut answer, mut chunk) = (Vec::new(), [0; 8_192]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return read(&String::from_utf8_lossy(&answer)),
            Ok(length) => answer.extend(&chunk[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if Instant::now() >= end || gives_up() {
                    return Err(format!("{method} {path} was not answered").into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same, where anything but a status of 2xx is an error.
pub fn ask(port: u16, method: &str, path: &str) -> Outcome<String> {
    match call(port, method, path)? {
        (200..300, body) => Ok(body),
        (status, body) => Err(format!("{method} {path} answered {status}: {body}").into()),
    }
}

fn read(answer: &str) -> Outcome<(u16, String)> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("not an answer of HTTP: {answer:?}"))?;
    let status = head.split_whitespace().nth(1).unwrap_or_default().parse()?;
    let chunked = head
        .lines()
        .any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
    let body = if chunked {
        dechunk(body)?
    } else {
        body.to_owned()
    };
    Ok((status, body))
}

fn dechunk(mut rest: &str) -> Outcome<String> {
    let mut body = String::new();
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16)?;
        if size == 0 {
            break;
        }
        body.push_str(behind.get(..size).ok_or("a chunk is cut short")?);
        rest = behind.get(size + 2..).unwrap_or_default();
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_frame_a_body_are_read() {
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(read(plain).unwrap(), (200, "ok".to_owned()));
        let chunked =
            "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(read(chunked).unwrap(), (404, "abcd".to_owned()));
        assert!(read("nothing").is_err());
    }
}
