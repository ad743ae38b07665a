//! Why a connection to a broker, or one request on it, is over: in words for people, with the setting that may be wrong.

use campanile_core::port::broker;

/// How much of a broker's own words is shown.
const WORDS_CHARS_MAX: usize = 300;

/// Why a connection, or one request on it, is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The network's or the peer's doing.
    #[error("setting `broker`: the connection to {address} is lost: {why}")]
    Lost { address: String, why: String },
    /// The broker said no, in these words.
    #[error("{address} answers: {words}")]
    Refused { address: String, words: String },
}

impl Failure {
    pub(crate) fn lost(address: &str, why: impl Into<String>) -> Self {
        Self::Lost {
            address: address.to_owned(),
            why: why.into(),
        }
    }

    pub(crate) fn refused(address: &str, words: impl Into<String>) -> Self {
        Self::Refused {
            address: address.to_owned(),
            words: words.into(),
        }
    }
}

impl From<Failure> for broker::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost { .. } => Self::Unreachable(failure.into()),
            Failure::Refused { .. } => Self::Refused(failure.into()),
        }
    }
}

/// What a broker says, fit for one line.
pub(crate) fn one_line(words: &str) -> String {
    let line: String = words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WORDS_CHARS_MAX)
        .collect();
    line.trim().to_owned()
}
