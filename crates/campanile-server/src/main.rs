//! The program: all of it is in the library beside this file, so that tests can start what the program starts.

fn main() -> std::process::ExitCode {
    campanile_server::cli::run()
}
