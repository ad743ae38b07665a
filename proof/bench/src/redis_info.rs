//! How many commands a Redis has answered so far, by its own count. For the bench alone: the lock's connections are not
//! used, so that asking is not counted as theirs.

use std::time::Duration;

use campanile_core::system::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The count of the Redis at `redis://HOST:PORT`; `None` without one, or where it does not say (a password).
pub async fn commands(url: Option<&str>) -> Option<u64> {
    let address = url?.strip_prefix("redis://")?.split('/').next()?.to_owned();
    let text = within(PATIENCE, ask(&address)).await?.ok()?;
    count(&text)
}

async fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"INFO stats\r\nQUIT\r\n").await?;
    let mut text = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX as u64)
        .read_to_end(&mut text)
        .await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn count(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_stands_on_a_line_of_its_own() {
        let text = "$90\r\n# Stats\r\ntotal_connections_received:3\r\ntotal_commands_processed:1234\r\n\r\n+OK\r\n";
        assert_eq!(count(text), Some(1_234));
        assert_eq!(count("-NOAUTH Authentication required.\r\n"), None);
    }
}
