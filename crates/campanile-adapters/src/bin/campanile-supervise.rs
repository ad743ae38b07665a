//! The supervisor as a program of its own, for those who embed the command handler in a program that has no verb for
//! it, and for the tests. Holds no logic: that is `handlers::supervise`.

fn main() -> std::process::ExitCode {
    campanile_adapters::handlers::supervise::main()
}
