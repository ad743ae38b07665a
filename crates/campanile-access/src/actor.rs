//! Who asks: a name, how it was proved, where the request came from, and what that one may do. An actor is made where
//! somebody's request comes in, by whoever has checked it; a leader makes none (ARCHITECTURE.md, walls), so that what it
//! does by itself is never written down as a person's act.

use std::fmt;
use std::sync::Arc;

use crate::audit::Deed;
use crate::right::{Denied, Right, Rights};
use crate::scope::Thing;

/// How much of a name, and of an address, is kept, in characters.
pub const TEXT_CHARS_MAX: usize = 200;
/// How much of a reason is kept, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// How somebody's name was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// By the cluster's own token: whoever holds it says its name itself.
    Bootstrap,
    /// By an API token.
    Token,
    /// By a password of this cluster.
    User,
    /// By a proxy that the settings name.
    Proxy,
    /// By an identity provider.
    Oidc,
    /// By being on the store's machine, or having its address: the command line on a store.
    Store,
    /// By being linked with this library, in a program that has the store.
    Library,
    /// Nobody's: a leader's edit on somebody's behalf, who is named.
    Leader,
    /// Nobody yet: who tried to come in.
    Stranger,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Bootstrap,
        Self::Token,
        Self::User,
        Self::Proxy,
        Self::Oidc,
        Self::Store,
        Self::Library,
        Self::Leader,
        Self::Stranger,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Token => "token",
            Self::User => "user",
            Self::Proxy => "proxy",
            Self::Oidc => "oidc",
            Self::Store => "store",
            Self::Library => "library",
            Self::Leader => "leader",
            Self::Stranger => "stranger",
        }
    }
}

/// Somebody, as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Actor {
    kind: Kind,
    name: String,
    from: String,
    request: Option<String>,
    reason: Option<String>,
    rights: Rights,
    deed: Option<Arc<Deed>>,
}

impl Actor {
    /// Who has the store itself, and so may do everything, by this name and from this place (an address, a file, `this
    /// process`); both are cut at [`TEXT_CHARS_MAX`] characters.
    #[must_use]
    pub fn new(name: &str, from: &str) -> Self {
        Self::of(Kind::Library, name, from, Rights::all())
    }

    /// Who was proved to be this one, and may do this.
    #[must_use]
    pub fn of(kind: Kind, name: &str, from: &str, rights: Rights) -> Self {
        Self {
            kind,
            name: cut(name, TEXT_CHARS_MAX),
            from: cut(from, TEXT_CHARS_MAX),
            request: None,
            reason: None,
            rights,
            deed: None,
        }
    }

    /// The same, in a request with this id.
    #[must_use]
    pub fn in_request(mut self, id: &str) -> Self {
        self.request = Some(cut(id, TEXT_CHARS_MAX));
        self
    }

    /// The same, for a reason; an empty one is none.
    #[must_use]
    pub fn because(mut self, reason: Option<&str>) -> Self {
        let said = reason.map(str::trim).filter(|said| !said.is_empty());
        self.reason = said.map(|said| cut(said, REASON_CHARS_MAX));
        self
    }

    /// The same, doing this: what the store writes down with what it changes.
    #[must_use]
    pub fn doing(&self, deed: Deed) -> Self {
        Self {
            deed: Some(Arc::new(deed)),
            ..self.clone()
        }
    }

    /// What is being done.
    #[must_use]
    pub fn deed(&self) -> Option<&Deed> {
        self.deed.as_deref()
    }

    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the request came from.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }

    /// The id of the request.
    #[must_use]
    pub fn request(&self) -> Option<&str> {
        self.request.as_deref()
    }

    /// Why it is asked for, as the one who asks says.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    #[must_use]
    pub const fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Kind and name: who it is, told apart from all others.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}:{}", self.kind.as_str(), self.name)
    }

    /// Refuses who lacks a right altogether.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(&self, right: Right) -> Result<(), Denied> {
        if self.rights.has(right) {
            return Ok(());
        }
        Err(self.denied(right, format!("lacks the right `{right}`")))
    }

    /// Refuses who lacks a right to a thing; `what` names it for the refusal.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check_in(&self, right: Right, thing: &Thing<'_>, what: &str) -> Result<(), Denied> {
        self.check(right)?;
        if self.rights.scope().holds(thing) {
            return Ok(());
        }
        Err(self.denied(right, format!("has the right `{right}`, and not to {what}")))
    }

    /// Refuses who lacks a right to what is everybody's; `what` names it for the refusal.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check_everywhere(&self, right: Right, what: &str) -> Result<(), Denied> {
        self.check(right)?;
        if self.rights.scope().is_all() {
            return Ok(());
        }
        let why = format!("has the right `{right}` in a part alone, and {what} is everybody's");
        Err(self.denied(right, why))
    }

    /// A refusal of this one, for want of a right; the sentence ends with `why`.
    #[must_use]
    pub fn denied(&self, right: Right, why: String) -> Denied {
        Denied {
            who: self.identity(),
            rights: self.rights.clone(),
            right,
            why,
        }
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} from {}", self.name, self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::right::Role;
    use crate::scope::Scope;

    #[test]
    fn an_actor_is_named_with_its_place_and_has_a_length() {
        let actor = Actor::new("ada", "10.0.0.1");
        assert_eq!(actor.to_string(), "ada from 10.0.0.1");
        let long = Actor::new(&"x".repeat(5_000), "a").because(Some(&"y".repeat(5_000)));
        assert_eq!(long.name().len(), TEXT_CHARS_MAX);
        assert_eq!(long.reason().map(str::len), Some(REASON_CHARS_MAX));
        assert_eq!(actor.because(Some("  ")).reason(), None);
    }

    #[test]
    fn a_refusal_says_who_holds_what_and_lacks_what() {
        let scope = Scope::of(&["prefix:bill-"]).unwrap();
        let rights = Rights::of(Role::Operator).within(scope);
        let actor = Actor::of(Kind::Token, "ci", "10.0.0.1", rights);
        let thing = |task| Thing {
            task: Some(task),
            ..Thing::default()
        };
        assert_eq!(
            actor.check(Right::Define).unwrap_err().to_string(),
            "token:ci (operator, within prefix:bill-) lacks the right `define`"
        );
        assert!(
            actor
                .check_in(Right::Operate, &thing("bill-a"), "task `bill-a`")
                .is_ok()
        );
        let refused = actor.check_in(Right::Operate, &thing("a"), "task `a`");
        assert_eq!(
            refused.unwrap_err().to_string(),
            "token:ci (operator, within prefix:bill-) has the right `operate`, and not to task `a`"
        );
        let refused = actor.check_everywhere(Right::See, "the inbox").unwrap_err();
        assert!(
            refused
                .to_string()
                .ends_with("in a part alone, and the inbox is everybody's")
        );
        let admin = Actor::new("ada", "here");
        assert!(admin.check_everywhere(Right::People, "x").is_ok());
    }
}
