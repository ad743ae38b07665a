//! The settings of what a node takes at once over HTTP: connections and bytes of bodies. Owns what they mean; who has a
//! place is decided where connections are taken.

use super::{Written, Wrong};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What a node takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doors {
    /// Connections in all; absent = what the process's descriptors leave over.
    pub connections: Option<usize>,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Bytes of all bodies that are being read or worked on.
    pub bytes_in_flight: usize,
    /// Bytes of one body that holds many tasks or runs.
    pub bulk_bytes: usize,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_address: 256,
            bytes_in_flight: 64 * MIB,
            bulk_bytes: 16 * MIB,
        }
    }
}

impl Written {
    /// A size between two others.
    pub(super) fn size(
        &self,
        key: &'static str,
        least: usize,
        most: usize,
    ) -> Result<usize, Wrong> {
        let text = self.required(key)?;
        let size = parse_size(&text).map_err(|m| self.wrong(key, m))?;
        if (least..=most).contains(&size) {
            return Ok(size);
        }
        let (least, most) = (format_size(least), format_size(most));
        let message = format!("`{text}` is out of range: write {least} to {most}");
        Err(self.wrong(key, message))
    }

    /// The settings of this page.
    pub(super) fn doors(&self) -> Result<Doors, Wrong> {
        let count = |key| -> Result<usize, Wrong> {
            let text = self.required(key)?;
            text.parse()
                .ok()
                .filter(|n| (16..=1_000_000).contains(n))
                .ok_or_else(|| {
                    let message = format!("`{text}` is out of range: write 16 to 1000000");
                    self.wrong(key, message)
                })
        };
        let connections = match self.required("max_connections")?.as_str() {
            "auto" => None,
            _ => Some(count("max_connections")?),
        };
        let doors = Doors {
            connections,
            connections_per_address: count("max_connections_per_address")?,
            bytes_in_flight: self.size("max_bytes_in_flight", 8 * MIB, 4 * KIB * MIB)?,
            bulk_bytes: self.size("max_bulk_body", MIB, 256 * MIB)?,
        };
        if doors.bulk_bytes * 2 > doors.bytes_in_flight {
            let message = format!(
                "is more than half of what all bodies may have at once: write {} or less, or set \
                 `max_bytes_in_flight` higher",
                format_size(doors.bytes_in_flight / 2)
            );
            return Err(self.wrong("max_bulk_body", message));
        }
        Ok(doors)
    }
}

/// Reads `16MiB`, `512KiB`, `1GiB` or a number of bytes.
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" => Some(1),
        "KiB" => Some(KIB),
        "MiB" => Some(MIB),
        "GiB" => Some(KIB * MIB),
        _ => None,
    };
    let size = unit.and_then(|u| digits.parse::<usize>().ok()?.checked_mul(u));
    size.ok_or_else(|| format!("`{text}` is not a size: write it as in 16MiB, 512KiB or 1048576"))
}

/// The shortest way to write a size.
#[must_use]
pub fn format_size(bytes: usize) -> String {
    match bytes {
        b if b > 0 && b % (KIB * MIB) == 0 => format!("{}GiB", b / (KIB * MIB)),
        b if b > 0 && b % MIB == 0 => format!("{}MiB", b / MIB),
        b if b > 0 && b % KIB == 0 => format!("{}KiB", b / KIB),
        b => b.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Layer, Raw, Source, find_key};
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Doors, String> {
        let mut layer = Layer::new();
        for (name, value) in pairs {
            let key = find_key(name).unwrap();
            let raw = Raw::split(value, key.kind, Source::Flag(key.flag()));
            layer.insert(key.name, raw);
        }
        let written = Written::gather(layer, &Environment::new(), None).unwrap();
        written.doors().map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_of_table_and_type_are_the_same() {
        assert_eq!(read(&[]).unwrap(), Doors::default());
    }

    #[test]
    fn sizes_and_counts_are_read_or_refused_with_their_bounds() {
        assert_eq!(parse_size("16MiB"), Ok(16 * MIB));
        assert_eq!(parse_size("1048576"), Ok(MIB));
        for text in ["16MB", "MiB", "-1", "1.5MiB", "99999999999999999999GiB", ""] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        let big = read(&[
            ("max_bulk_body", "64MiB"),
            ("max_bytes_in_flight", "256MiB"),
        ])
        .unwrap();
        assert_eq!((big.bulk_bytes, big.bytes_in_flight), (64 * MIB, 256 * MIB));
        assert_eq!(
            read(&[("max_connections", "200")]).unwrap().connections,
            Some(200)
        );
        for (pairs, part) in [
            (vec![("max_connections", "3")], "write 16 to 1000000"),
            (
                vec![("max_connections_per_address", "0")],
                "write 16 to 1000000",
            ),
            (vec![("max_bulk_body", "1KiB")], "write 1MiB to 256MiB"),
            (vec![("max_bulk_body", "64MiB")], "write 32MiB or less"),
            (vec![("max_bytes_in_flight", "much")], "is not a size"),
        ] {
            let said = read(&pairs).unwrap_err();
            assert!(said.contains(part) && said.contains(pairs[0].0), "{said}");
        }
    }
}
