//! OpenID Connect: the code flow with PKCE, from the address that a browser is sent to until it is known who came back.
//! Owns what is asked of the provider, in which order, what is kept of its answers and for how long, and every check of
//! what it says. Speaks to it through [`Fetch`] and knows no HTTP library; who gets in with which rights is decided
//! elsewhere, from the groups that an [`Identity`] brings.

mod attempt;
mod client;
mod keys;
mod provider;
mod token;

pub use self::attempt::{ATTEMPT_MAX, Attempt};
pub use self::client::{Callback, Client, Endpoint, SKEW_MAX};
pub use self::keys::{ALGORITHMS, Keys};
pub use self::provider::{Provider, check_address};
pub use self::token::{Claims, Expected, Invalid, LEEWAY, verify};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The biggest answer of a provider that is read.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// An answer of a provider.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    pub status: u16,
    /// At most [`ANSWER_BYTES_MAX`].
    pub body: Vec<u8>,
    /// The provider's clock in its header `Date`, in milliseconds since 1970.
    pub date_ms: Option<i64>,
}

/// A request that carries a form.
#[derive(Debug, Clone)]
pub struct Form<'a> {
    pub url: &'a str,
    pub fields: Vec<(&'a str, &'a str)>,
    /// A header `Authorization`, whole.
    pub authorization: Option<String>,
}

/// HTTP as the flow needs it: bounded in time and size, without redirects. An error is a text for the log, without
/// addresses' secrets.
#[async_trait]
pub trait Fetch: Send + Sync {
    async fn get(&self, url: &str) -> Result<Fetched, String>;

    async fn post(&self, form: Form<'_>) -> Result<Fetched, String>;
}

/// Who came back, as the provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider's own name of him, which never changes.
    pub subject: String,
    /// What people call him: the claim that the settings name, or else the subject.
    pub name: String,
    /// The groups he is in, as the token says.
    pub groups: Vec<String>,
}

/// Why a login by the provider came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The provider gives no proper answer.
    #[error("reach the identity provider: {0}")]
    Unreachable(String),
    /// The browser did not come from a login that it began here, or took too long.
    #[error("match the answer with a login of this browser: {0}")]
    NotBegun(&'static str),
    /// The provider let nobody in.
    #[error("log in at the identity provider, which says `{0}`")]
    Refused(String),
    /// What it says can't be believed.
    #[error("believe the identity provider: {0}")]
    Unbelievable(String),
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A text of a stranger's, fit for a log line: one line, and short.
fn shown(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    text.chars().take(200).map(plain).collect()
}
