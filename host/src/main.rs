//! Runs the command and tells what went wrong.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let _flush = doorward::log::Flush;
    doorward::cli::run().unwrap_or_else(|error| {
        doorward::log::tell(&format!("doorward: {error:#}"));
        ExitCode::FAILURE
    })
}
