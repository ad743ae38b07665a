//! The adapters against real servers, each private to its test or shared by the run: one binary, a module for each
//! port.

mod broker;
