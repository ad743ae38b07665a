//! The protocol in every order of steps that small bounds allow: the core's own decisions under the model checker
//! (`docs/contribute/model.md`). Nothing but tests; the library is empty.

#[cfg(test)]
mod model;
