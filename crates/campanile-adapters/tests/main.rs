//! The adapters against real servers: one module per port, one program for all, because each program links the world
//! again. It owns nothing itself and never starts a server.

mod lock;
