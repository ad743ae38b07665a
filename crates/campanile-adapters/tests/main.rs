<<<<<<< HEAD
//! The adapters against real servers: one module per port, one program for all, because each program links the world.

mod lock;
=======
//! The adapters against real servers, each private to its test or shared by the run: one binary, a module for each
//! port.

mod broker;
>>>>>>> stomp
