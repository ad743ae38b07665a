//! `cargo xtask VERB`: the developer verbs.
//! Head.
fn main() {}
