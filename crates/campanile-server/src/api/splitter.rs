//! Cuts a JSON object of lists into its items while it arrives: holds one item at a time, never the body. It knows JSON's
//! outlines alone (strings, brackets, commas); what an item says is its reader's business.

use super::problem::Problem;
use crate::document;

/// A name of a field that is longer is none of ours.
const NAME_BYTES_MAX: usize = 1_024;

/// Who is given what was found.
pub trait Found {
    /// A field begins: whether it is a list of which the items are wanted; else its value is passed by.
    ///
    /// # Errors
    /// It must not be there.
    fn field(&mut self, name: &str) -> Result<bool, Problem>;

    /// So much of an item is there and it is not over.
    ///
    /// # Errors
    /// It is too much already.
    fn growing(&mut self, bytes: usize) -> Result<(), Problem>;

    /// An item of the list that began last, as it is written.
    ///
    /// # Errors
    /// It is refused.
    fn item(&mut self, raw: &str) -> Result<(), Problem>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// In front of all.
    #[default]
    Start,
    /// In front of a field's name, or (if that is allowed) the end of all.
    Name { may_end: bool },
    /// In a field's name.
    InName,
    /// Behind it.
    Colon,
    /// In front of a field's value.
    Value,
    /// In front of an item, or the end of its list.
    Item { may_end: bool },
    /// In an item, or in the value of a field that is passed by.
    Inside(Part),
    /// Behind an item.
    ItemEnd,
    /// Behind a field's value.
    ValueEnd,
    /// Behind all.
    End,
}

/// What of a value was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A number or a word.
    Bare,
    /// Something in so many brackets.
    Nested(u32),
}

/// Reads a body in whatever pieces it comes.
#[derive(Debug, Default)]
pub struct Splitter {
    at: At,
    /// The item, or the name, so far.
    held: Vec<u8>,
    in_string: bool,
    escaped: bool,
    /// Whether the items of the field are wanted.
    wanted: bool,
    name: String,
    line: usize,
    column: usize,
}

impl Splitter {
    /// Takes the next piece.
    ///
    /// # Errors
    /// What is no such object, where; what `found` refuses.
    pub fn feed(&mut self, piece: &[u8], found: &mut dyn Found) -> Result<(), Problem> {
        let mut rest = piece;
        while let Some((byte, behind)) = rest.split_first() {
            if self.step(*byte, found)? {
                self.pass(*byte);
                rest = behind;
            }
        }
        if matches!(self.at, At::Inside(_)) && self.wanted {
            found.growing(self.held.len())?;
        }
        Ok(())
    }

    /// How many bytes are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held.len()
    }

    /// There is no more.
    ///
    /// # Errors
    /// More was to come.
    pub fn finish(&self) -> Result<(), Problem> {
        if self.at == At::End {
            return Ok(());
        }
        Err(self.wrong("EOF while parsing"))
    }

    fn pass(&mut self, byte: u8) {
        if byte == b'\n' {
            self.line += 1;
            self.column = 0;
        } else {
            self.column += 1;
        }
    }

    /// What is wrong here, as a JSON library would say it, in our words.
    fn wrong(&self, what: &str) -> Problem {
        self.told(&document::json_in_words(what))
    }

    /// What is wrong here.
    fn told(&self, what: &str) -> Problem {
        let (line, column) = (self.line + 1, self.column + 1);
        let field = (!self.name.is_empty()).then_some(self.name.as_str());
        let detail = format!("the body can't be read: line {line} column {column}: {what}");
        Problem::bad(field, detail)
    }

    /// Looks at one byte; answers whether it was used up.
    fn step(&mut self, byte: u8, found: &mut dyn Found) -> Result<bool, Problem> {
        match self.at {
            At::InName => return self.in_name(byte, found).map(|()| true),
            At::Inside(part) => return self.inside(byte, part, found),
            _ if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => return Ok(true),
            _ => {}
        }
        self.at = match (self.at, byte) {
            (At::Start, b'{') => At::Name { may_end: true },
            (At::Start, _) => return Err(self.told("write an object")),
            (At::Name { may_end: true }, b'}') | (At::ValueEnd, b'}') => At::End,
            (At::Name { .. }, b'"') => {
                self.held.clear();
                At::InName
            }
            (At::Name { .. }, _) => return Err(self.wrong("key must be a string")),
            (At::Colon, b':') => At::Value,
            (At::Colon, _) => return Err(self.wrong("expected `:`")),
            (At::Value, b'[') if self.wanted => At::Item { may_end: true },
            (At::Value, _) if self.wanted => {
                let what = format!("write a list in `{}`", self.name);
                return Err(self.told(&what));
            }
            (At::Item { may_end: true }, b']') | (At::ItemEnd, b']') => self.field_ends(),
            (At::Item { .. }, b',' | b']' | b'}' | b':')
            | (At::Value, b',' | b']' | b'}' | b':') => {
                return Err(self.wrong("expected value"));
            }
            (At::Item { .. } | At::Value, _) => return Ok(self.begin(byte)),
            (At::ItemEnd, b',') => At::Item { may_end: false },
            (At::ValueEnd, b',') => At::Name { may_end: false },
            (At::ItemEnd | At::ValueEnd, _) => return Err(self.wrong("expected `,` or `]`")),
            (At::End, _) => return Err(self.wrong("trailing characters")),
            (At::InName | At::Inside(_), _) => self.at,
        };
        Ok(true)
    }

    fn field_ends(&mut self) -> At {
        self.name.clear();
        At::ValueEnd
    }

    /// A name's bytes, up to its closing quotation mark.
    fn in_name(&mut self, byte: u8, found: &mut dyn Found) -> Result<(), Problem> {
        if byte != b'"' || self.escaped {
            self.escaped = byte == b'\\' && !self.escaped;
            self.held.push(byte);
            if self.held.len() > NAME_BYTES_MAX {
                return Err(self.wrong("the name of a field is too long"));
            }
            return Ok(());
        }
        let quoted = [b"\"", self.held.as_slice(), b"\""].concat();
        let Ok(name) = serde_json::from_slice::<String>(&quoted) else {
            return Err(self.wrong("the name of a field can't be read"));
        };
        self.held.clear();
        self.wanted = found.field(&name)?;
        self.name = if self.wanted { name } else { String::new() };
        self.at = At::Colon;
        Ok(())
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> bool {
        self.held.clear();
        self.in_string = false;
        self.escaped = false;
        self.at = At::Inside(match byte {
            b'{' | b'[' | b'"' => Part::Nested(0),
            _ => Part::Bare,
        });
        false
    }

    fn inside(&mut self, byte: u8, part: Part, found: &mut dyn Found) -> Result<bool, Problem> {
        let depth = match part {
            Part::Bare if matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n') => {
                return self.ends(found).map(|()| false);
            }
            Part::Bare => {
                self.hold(byte);
                return Ok(true);
            }
            Part::Nested(depth) => depth,
        };
        self.hold(byte);
        let mut depth = depth;
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => return Ok(true),
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'[' | b'{' => depth = depth.saturating_add(1),
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => return Ok(true),
            }
        }
        self.at = At::Inside(Part::Nested(depth));
        if depth == 0 && !self.in_string {
            self.ends(found)?;
        }
        Ok(true)
    }

    fn hold(&mut self, byte: u8) {
        if self.wanted {
            self.held.push(byte);
        }
    }

    fn ends(&mut self, found: &mut dyn Found) -> Result<(), Problem> {
        if !self.wanted {
            self.at = At::ValueEnd;
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let Ok(raw) = std::str::from_utf8(&held) else {
            return Err(self.wrong("it is not UTF-8"));
        };
        found.item(raw)?;
        // Its room is used again, unless it is more than most need.
        self.held = if held.capacity() <= 64 * 1024 {
            held
        } else {
            Vec::new()
        };
        self.held.clear();
        self.at = At::ItemEnd;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct All(Vec<String>);

    impl Found for All {
        fn field(&mut self, name: &str) -> Result<bool, Problem> {
            self.0.push(format!("{name}:"));
            Ok(name.starts_with('l'))
        }

        fn growing(&mut self, _: usize) -> Result<(), Problem> {
            Ok(())
        }

        fn item(&mut self, raw: &str) -> Result<(), Problem> {
            self.0.push(raw.to_owned());
            Ok(())
        }
    }

    fn split(pieces: &[&[u8]]) -> Result<Vec<String>, String> {
        let (mut splitter, mut all) = (Splitter::default(), All::default());
        for piece in pieces {
            splitter.feed(piece, &mut all).map_err(|p| p.detail)?;
        }
        splitter.finish().map_err(|p| p.detail)?;
        Ok(all.0)
    }

    #[test]
    fn a_body_cut_at_every_byte_gives_the_same_items() {
        let body = " {\"l\" : [1, \"a,]}\\\"b\\\\\" ,{\"x\":[{}, [\"]\"]]} , null,-2e3],\n\"other\":{\"l\":[1]},\
                    \"n\":true,\"s\":\"]\",\"l2\":[],\"l\\u0033\":[[]]} \n";
        let expected = [
            "l:",
            "1",
            "\"a,]}\\\"b\\\\\"",
            "{\"x\":[{}, [\"]\"]]}",
            "null",
            "-2e3",
            "other:",
            "n:",
            "s:",
            "l2:",
            "l3:",
            "[]",
        ];
        let body = body.as_bytes();
        assert_eq!(split(&[body]).unwrap(), expected);
        for at in 0..body.len() {
            assert_eq!(split(&[&body[..at], &body[at..]]).unwrap(), expected);
            assert!(at == body.len() - 2 || at == body.len() - 1 || split(&[&body[..at]]).is_err());
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(split(&bytes).unwrap(), expected);
    }

    /// What is taken is JSON, and what is no JSON is not: judged by the library.
    #[test]
    fn outlines_are_judged_as_the_library_judges_them() {
        for body in [
            "{}",
            "{\"l\":[]}",
            "{\"l\":[1]}",
            "{\"l\":[1],}",
            "{,}",
            "{\"l\"}",
            "{\"l\":}",
            "{\"l\":[1,]}",
            "{\"l\":[,1]}",
            "{\"l\":[1 2]}",
            "{\"l\":[1}",
            "{\"l\":[1]",
            "{\"l\":[1]]",
            "{\"l\":[1]} x",
            "{\"l\":[1]}}",
            "[1]",
            "",
            "x",
            "{l:1}",
            "{\"l\":[1] \"m\":1}",
            "{\"m\":1 \"n\":2}",
            "{\"m\":1,\"n\":2}",
            "{\"m\"::1}",
            "{\"l\":[{}{}]}",
            "{\"l\":[\"a\"\"b\"]}",
        ] {
            let is_json =
                serde_json::from_str::<serde_json::Value>(body).is_ok_and(|v| v.is_object());
            assert_eq!(split(&[body.as_bytes()]).is_ok(), is_json, "{body}");
        }
        let said = |body: &[u8]| split(&[body]).unwrap_err();
        let no_list = said(b"{\n \"l\": 1}");
        assert!(
            no_list.contains("line 2 column 7: write a list in `l`"),
            "{no_list}"
        );
        assert!(said(b"{\"l\":[1").contains("ends too early"));
        assert!(said(b"{\"l\":[\"\xff\"]}").contains("not UTF-8"));
        let long = format!("{{\"{}\":1}}", "x".repeat(NAME_BYTES_MAX + 1));
        assert!(said(long.as_bytes()).contains("too long"));
    }

    #[test]
    fn what_is_passed_by_is_not_held() {
        let (mut splitter, mut all) = (Splitter::default(), All::default());
        splitter.feed(b"{\"other\":[\"", &mut all).unwrap();
        for _ in 0..100 {
            splitter.feed(&[b'x'; 10_000], &mut all).unwrap();
            assert_eq!(splitter.held(), 0);
        }
    }
}
