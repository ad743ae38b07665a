//! The way to a broker, whatever it speaks: its URL with the fail-over list, TLS, and the walk along that list until one
//! greets us. It knows no protocol: what is said over the stream, each adapter knows.

mod failure;
pub(crate) mod tls;
pub(crate) mod url;
pub(crate) mod walk;

pub(crate) use self::failure::{Failure, one_line};
