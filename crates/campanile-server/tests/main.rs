//! The program from outside: the API through the real composition, the CLI as a process, and the documents that are made
//! from both. One binary, because each more links the world again.

mod api;
mod cli;
mod reference;
mod security;
mod support;
