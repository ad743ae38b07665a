//! The SQL stores on real databases, one statement of one session at a time (`docs/contribute/interleavings.md`). Nothing
//! but tests; the library is empty.

#[cfg(test)]
mod stepping;
