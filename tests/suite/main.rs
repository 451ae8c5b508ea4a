//! The suite: doorward from outside the process. This file is its table of contents.

mod slow;
mod support;

mod demo;
mod configuration;
mod login;
mod recipes;
mod interface;
mod pages;
mod directory;
mod sessions;
mod throttle;
mod forwarding;
mod hostile;
mod http2;
mod streaming;
mod upgrades;
mod queue;
mod reuse;
mod connecting;
mod health;
mod access;
mod listeners;
mod guests;
mod policies;
mod swap;
mod policy_cli;
mod tls;
mod lifecycle;
mod threads;
mod upgrade;
mod real_stack;
mod real_sogo;
mod browser;
mod accessibility;
mod tidy;
