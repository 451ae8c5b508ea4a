//! The commands: what is typed, and what is printed.

mod admin;
mod arguments;
mod ask;
mod audit;
mod author;
mod ctl;
mod init;
mod keys;
mod people;
mod policy;
mod print;
mod recipe;
mod run;
mod template;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The front door of a webmail cluster.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run with two small webmail nodes, users and virtual hosts of our own; nothing else is needed.
    Demo(arguments::Demo),
    /// Write a configuration: asks on a terminal for what no option says.
    Init(Box<init::Init>),
    /// Run with a configuration.
    Serve(arguments::Serve),
    /// Report every fault of a configuration, and warn of what is hardly meant; exit status 0 when there is no fault.
    Check(arguments::Check),
    /// Ask a running Doorward, or tell it something, by its admin socket.
    Ctl(ctl::Ctl),
    /// Accounts and tokens of the admin address.
    #[command(subcommand)]
    Admin(admin::Admin),
    /// The audit log.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Keys of session cookies and session tickets.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Policies.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Recipes: how back-ends are logged in to.
    #[command(subcommand)]
    Recipe(recipe::Command),
    /// Templates of the login page and Doorward's other pages.
    #[command(subcommand)]
    Template(template::Template),
    /// Compile a policy from standard input to standard output, within limits; Doorward calls this itself.
    #[command(name = crate::policy::COMPILE_COMMAND, hide = true)]
    Compile {
        /// Seconds of CPU time.
        time: u64,
        /// Bytes of memory.
        memory: u64,
        /// How far behind other processes it stands.
        niceness: u8,
    },
}

/// Runs the command that was typed.
///
/// # Errors
/// What ends the process with status 1.
pub fn run() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Demo(demo) => run::demo(demo.listen, demo.dir, demo.json),
        Command::Init(init) => init::run(*init),
        Command::Serve(serve) => run::serve(&serve),
        Command::Check(check) => run::check(&check),
        Command::Ctl(ctl) => ctl::run(&ctl),
        Command::Admin(admin) => admin::run(admin),
        Command::Audit(audit) => audit::run(&audit),
        Command::Keys(keys) => keys::run(&keys),
        Command::Compile { time, memory, niceness } => {
            Ok(ExitCode::from(crate::policy::compile_run(time, memory, niceness)))
        }
        Command::Policy(policy) => policy::run(&policy),
        Command::Recipe(recipe) => recipe::run(&recipe),
        Command::Template(template) => template::run(&template),
    }
}
