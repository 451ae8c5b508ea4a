//! `doorward-author`, as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    doorward_author::run()
}
