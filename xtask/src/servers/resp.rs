//! One command to a Redis or Sentinel and its answer as plain lines: enough to prepare and to look at a server from
//! outside the product's own client. Every wait is bounded, because the server may be paused on purpose.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Error, Result, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Sends one command to a loopback port. Nested lists come back flat, a line each; nothing (nil) is an empty line;
/// the server's own refusal is an error.
pub(super) fn command(
    port: u16,
    login: Option<(&str, &str)>,
    arguments: &[&str],
) -> Result<String> {
    let stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    let mut reader = BufReader::new(&stream);
    if let Some((user, password)) = login {
        say(&stream, &["AUTH", user, password])?;
        read_value(&mut reader, &mut Vec::new())?;
    }
    say(&stream, arguments)?;
    let mut lines = Vec::new();
    read_value(&mut reader, &mut lines)?;
    Ok(lines.join("\n"))
}

fn say(mut stream: &TcpStream, arguments: &[&str]) -> Result<()> {
    let mut request = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        // Writing to a string can't fail.
        let _ = write!(request, "${}\r\n{argument}\r\n", argument.len());
    }
    stream.write_all(request.as_bytes())
}

fn read_value(reader: &mut impl BufRead, lines: &mut Vec<String>) -> Result<()> {
    let mut head = String::new();
    if reader.read_line(&mut head)? == 0 {
        return Err(Error::other("the server closed the connection"));
    }
    let head = head.trim_end();
    let (kind, rest) = head
        .split_at_checked(1)
        .ok_or_else(|| Error::other("an empty answer"))?;
    let length = || rest.parse::<i64>().map_err(Error::other);
    match kind {
        "+" | ":" => lines.push(rest.to_owned()),
        "-" => return Err(Error::other(rest.to_owned())),
        "$" => match usize::try_from(length()?) {
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                reader.read_exact(&mut bytes)?;
                lines.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
            Err(_) => lines.push(String::new()),
        },
        "*" => {
            for _ in 0..length()?.max(0) {
                read_value(reader, lines)?;
            }
        }
        _ => return Err(Error::other(format!("not an answer of Redis: {head}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::read_value;

    fn lines(answer: &str) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        read_value(&mut answer.as_bytes(), &mut lines).map_err(|error| error.to_string())?;
        Ok(lines)
    }

    #[test]
    fn every_kind_of_answer_is_read() {
        assert_eq!(lines("+PONG\r\n").unwrap(), ["PONG"]);
        assert_eq!(lines(":7\r\n").unwrap(), ["7"]);
        assert_eq!(lines("$-1\r\n").unwrap(), [""]);
        assert_eq!(
            lines("*2\r\n$1\r\na\r\n*1\r\n$3\r\nb\nc\r\n").unwrap(),
            ["a", "b\nc"]
        );
        assert_eq!(lines("-ERR no\r\n").unwrap_err(), "ERR no");
        assert!(lines("").is_err() && lines("hello\r\n").is_err());
    }
}
