//! How people get in: users with passwords, the sessions of their browsers, and OpenID Connect. Owns what each of them is
//! worth and for how long, and the port behind which they are kept; knows no HTTP and no terminal. What somebody may do once
//! he is in is `campanile_access`'s.

pub mod memory;
pub mod oidc;
pub mod password;
pub mod people;
pub mod session;
pub mod store;
pub mod user;

pub use campanile_access::{Kind, Rights, Role, Scope};

/// Whether two texts are the same, in a time that does not tell where they differ.
#[must_use]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut differs = 0;
    for (a, b) in one.iter().zip(other) {
        differs |= a ^ b;
    }
    std::hint::black_box(differs) == 0
}
