//! The program `campanile`: settings, the composition of the engine with its adapters, the API, the pages and the CLI.
//! It decides nothing about tasks and runs: that is `campanile`, the library. It is a library itself only so that its
//! tests and `campanile-bench` can start the very composition that the program starts.

pub mod access;
pub mod api;
pub mod cli;
pub mod compose;
pub mod config;
pub mod definitions;
pub mod document;
pub mod failpoint;
pub mod handover;
pub mod heatmap;
pub mod http;
pub mod lifecycle;
pub mod modes;
pub mod programs;
pub mod taskfile;
pub mod token;
