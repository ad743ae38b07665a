//! OpenID Connect against a provider of our own that can be as dishonest as it likes, without a network.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets an error is to fail right there"
)]

mod flow;
mod sham;
mod token;
