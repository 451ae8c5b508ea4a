//! `doorward recipe`: lists recipes, checks them, and goes through a login by hand. It is the login that a browser's user
//! has, told step by step: what fills placeholders, and the values of cookies, are never shown.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};

use super::ask::secret;
use super::print::{say, tell};
use crate::back::{
    BUILT_IN, ByRecipe, Choice, Dialogue as _, Event, LoggedIn, LoginError, Node, NodeSpec, Person, Recipe, Visitor,
};
use crate::config::{self, Config, Place, Source};
use crate::directory::{Connections, Directory, DirectorySpec, Shrink};
use crate::limits::Allowance;
use crate::login;
use crate::peer::Peer;
use crate::secret::Secret;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The built-in recipes.
    List,
    /// A built-in recipe, to read or to copy.
    Show {
        /// Its name.
        name: String,
    },
    /// Report every fault of a recipe file; exit status 0 when there is none, 1 otherwise.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Log in at a back-end and show each step; exit status 0 when that worked, 1 otherwise.
    Test(Test),
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// The back-end, by the name it has in the configuration.
    #[arg(long)]
    backend: String,
    /// The user name, as typed.
    #[arg(long)]
    user: String,
    /// The configuration file.
    #[arg(long, default_value = "doorward.toml")]
    config: PathBuf,
    /// A file with the password. Without it the password is asked for on the terminal, or read from standard input.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// A file with the code of the second factor, which is asked for otherwise.
    #[arg(long)]
    code_file: Option<PathBuf>,
    /// The host name that the back-end is told; the back-end's own when missing.
    #[arg(long)]
    host: Option<String>,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => BUILT_IN.iter().for_each(|(name, text)| say(&format!("{name:16} {}", first_words(text)))),
        Command::Show { name } => {
            let found = BUILT_IN.iter().find(|(known, _)| known == name);
            let (_, text) = found.ok_or_else(|| anyhow!("no built-in recipe {name}; `recipe list` names them"))?;
            say(text.trim_end());
        }
        Command::Check { file } => return check(file),
        Command::Test(test) => return try_login(test),
    }
    Ok(ExitCode::SUCCESS)
}

/// The first sentence of a recipe's comment.
fn first_words(text: &str) -> String {
    let comment = text.lines().take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches(['#', ' ']));
    let comment = comment.collect::<Vec<_>>().join(" ");
    comment.split_inclusive(". ").next().unwrap_or("").trim().to_owned()
}

fn check(file: &Path) -> anyhow::Result<ExitCode> {
    let name = file.display().to_string();
    // With a folder, so that a bare name is a file and no built-in recipe.
    let name = if file.components().count() > 1 { name } else { format!("./{name}") };
    let place = Place::whole(&Arc::new(Source::new(file, "")));
    let secret = Secret::new("any".to_owned());
    let choice = Choice { name: &name, settings: &BTreeMap::new(), secret: Some(&secret) };
    match Recipe::load(choice, Path::new(""), &place) {
        Ok(recipe) => {
            say(&format!("{}: no faults", file.display()));
            if !recipe.checks_password() {
                say("The back-end checks no password: mode \"back-end\" will let nobody in.");
            }
            if recipe.expired.takes_any_type() {
                say(
                    "[expired] looks at bodies of any type: what a user opens may end the session. Ask for a type too: \
                     headers = { Content-Type = \"^application/json\" }",
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(faults) => {
            say(&faults.to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn try_login(test: &Test) -> anyhow::Result<ExitCode> {
    let config = config::load(&test.config)?;
    let backend = config.backends.iter().find(|backend| backend.name == test.backend);
    let backend = backend.with_context(|| {
        let names: Vec<&str> = config.backends.iter().map(|backend| backend.name.as_str()).collect();
        format!("no back-end {} in {}: there are {}", test.backend, test.config.display(), names.join(", "))
    })?;
    let node = Node::alone(NodeSpec::build(backend, &config.base)?);
    let secret = secret(test.password_file.as_deref(), "Password: ")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = tokio::task::LocalSet::new().block_on(&runtime, log_in(test, &config, &node, &secret));
    Ok(if done? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn log_in(test: &Test, config: &Config, node: &Arc<Node>, secret: &Secret) -> anyhow::Result<bool> {
    let (user, attributes) = entry(config, &test.user).await?;
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let peer = Peer::new("recipe test".to_owned(), here, here);
    let idle = Rc::default();
    let bounds = config.http.read_ahead;
    let host = test.host.as_deref().unwrap_or(node.authority());
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(host).context("--host")?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (doorward recipe test)"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let dialogue = ByRecipe {
        idle: &idle,
        peer: &peer,
        allowance: Box::new(|holder| Rc::new(Allowance { room: Arc::default(), holder, bounds })),
        headers: Box::new(|_| headers.clone()),
        visitor: Visitor {
            lang: "en",
            target: "/",
            origin: format!("https://{host}"),
            device: "desktop",
            template: "",
        },
        watcher: &show,
    };
    let person = Person { name: &user, user: &user, secret, attributes: &attributes };
    if !node.recipe.checks_password() {
        say("This back-end checks no password: Doorward must, and mode \"back-end\" lets nobody in.");
    }
    // A back-end that takes no new logins is tried all the same: that is how one looks whether it may take some again.
    let mut outcome = dialogue.log_in(node, &person).await;
    if let Err(LoginError::SecondFactor(pending)) = &outcome {
        let code = self::secret(test.code_file.as_deref(), "Code: ")?;
        outcome = dialogue.second_factor(node, &user, (pending, &code)).await;
    }
    Ok(conclude(outcome))
}

/// The user's one name, and what the directory says of the user. Without the directory, recipes that need nothing of it can
/// be tried all the same.
async fn entry(config: &Config, typed: &str) -> anyhow::Result<(String, BTreeMap<String, Vec<String>>)> {
    let directory = Directory::alone(DirectorySpec::build(&config.directory, (None, Shrink::Refused), &|_| true)?);
    let Some(name) = directory.canonical(typed) else { bail!("{typed:?} cannot be a user name") };
    let attributes = match directory.find(&Connections::default(), &name).await {
        Ok(Some(found)) => return Ok((directory.name_of(&found).unwrap_or(name), directory.exposed(&found))),
        Ok(None) => {
            tell("the directory does not know this user: {attr.…} will be missing");
            BTreeMap::new()
        }
        Err(error) => {
            tell(&format!("{error}: {{attr.…}} will be missing"));
            BTreeMap::new()
        }
    };
    Ok((name, attributes))
}

fn show(event: Event<'_>) {
    say(&match event {
        Event::Sent(method, path) => format!("> {method} {path}"),
        Event::Got(status, cookies, location) => {
            let mut line = format!("< {status}");
            if let Some(location) = location {
                line.push_str(&format!(", leads to {location}"));
            }
            if !cookies.is_empty() {
                line.push_str(&format!(", sets {}", cookies.join(", ")));
            }
            line
        }
        Event::Found(name, true) => format!("  {{{name}}} is found"),
        Event::Found(name, false) => format!("  {{{name}}} is NOT found"),
        Event::Means(Some(verdict)) => format!("  the test [{}] holds", verdict.name()),
        Event::Means(None) => "  no test of the recipe holds".to_owned(),
        Event::Fault(error) => format!("! {error}"),
    });
}

fn conclude(outcome: Result<LoggedIn, LoginError>) -> bool {
    say(&match &outcome {
        Ok(logged_in) => {
            let names: Vec<&str> =
                logged_in.cookies.iter().map(|cookie| cookie.split('=').next().unwrap_or("")).collect();
            let landing = &logged_in.landing_masked;
            let kept = if logged_in.kept.is_empty() { "nothing".to_owned() } else { format!("{:?}", logged_in.kept) };
            format!(
                "Logged in. The browser gets the cookies {}; it goes to {landing}; its session keeps {kept}.",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )
        }
        Err(LoginError::Wrong) => "Refused: name, password or code is wrong.".to_owned(),
        Err(LoginError::SecondFactor(_)) => "Refused: the code is asked for again.".to_owned(),
        Err(LoginError::PasswordExpired) => "Refused: the password must be changed first.".to_owned(),
        Err(LoginError::Throttled(Some(wait))) => format!("Refused: to be tried again in {} s.", wait.as_secs()),
        Err(LoginError::Throttled(None)) => "Refused: too many logins.".to_owned(),
        Err(LoginError::Refusal(refusal)) => format!("Failed: {} ({refusal:?}).", login::Reason::of(refusal).word()),
    });
    outcome.is_ok()
}
