//! Runs the command and tells what went wrong.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let status = doorward::cli::run().unwrap_or_else(|error| {
        doorward::log::tell(&format!("doorward: {error:#}"));
        ExitCode::FAILURE
    });
    // Nobody who reads it slowly keeps the process from ending.
    doorward::log::flush();
    status
}
