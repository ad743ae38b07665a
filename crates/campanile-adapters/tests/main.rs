//! The adapters against the real things: one test binary, one module for each port. Servers are private ones on
//! loopback, started for the tests; where a server's programs are not installed, the test says so and is listed.

mod store;
