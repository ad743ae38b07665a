//! Who asks for a change. An actor is made where somebody's request comes in, by whoever has checked it; nothing in
//! `engine/` or `protocol/` makes one (ARCHITECTURE.md, walls), so that what a leader does by itself is never written
//! down as a person's act.

use std::fmt;

/// How much of a name, and of an address, is kept.
pub const TEXT_CHARS_MAX: usize = 200;

/// Somebody, as far as is known: a name that nobody may have proved, and where the request came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    from: String,
}

impl Actor {
    /// An actor of this name, from this place (an address, a file, `this process`); both are cut at
    /// [`TEXT_CHARS_MAX`] characters.
    #[must_use]
    pub fn new(name: &str, from: &str) -> Self {
        let cut = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect();
        Self {
            name: cut(name),
            from: cut(from),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the request came from.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} from {}", self.name, self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_named_with_its_place_and_has_a_length() {
        let actor = Actor::new("ada", "10.0.0.1");
        assert_eq!(actor.to_string(), "ada from 10.0.0.1");
        let long = Actor::new(&"x".repeat(5_000), "a");
        assert_eq!(long.name().len(), TEXT_CHARS_MAX);
    }
}
