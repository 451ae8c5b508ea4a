//! Write Doorward policies in Rust.
//!
//! A policy answers one question of the proxy (may this client connect, what device is this, which template, how is
//! this login checked, which node does it go to, what happens to this request) as a pure function of the facts it reads. It is a value made once
//! from the operator's settings; the proxy then asks it as often as it likes. To write one, implement [`Policy`] (its settings), the trait of the
//! question, and name it to [`export!`]:
//!
//! ```
//! use doorward_policy::{AccessPolicy, ConnectionFacts, JsonSchema, Policy, Problem, Verdict};
//!
//! /// Lets in whoever comes by a listener on the list.
//! struct Listeners {
//!     open: Vec<String>,
//! }
//!
//! #[derive(serde::Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, rename_all = "kebab-case")]
//! # #[schemars(crate = "doorward_policy::schemars")]
//! struct Settings {
//!     /// Names of the listeners that anybody may use.
//!     open: Vec<String>,
//! }
//!
//! impl Policy for Listeners {
//!     type Settings = Settings;
//!
//!     fn configure(settings: Settings) -> Result<Self, Vec<Problem>> {
//!         if settings.open.is_empty() {
//!             return Err(vec![Problem::new("open", "names no listener: nobody could connect")]);
//!         }
//!         Ok(Listeners { open: settings.open })
//!     }
//! }
//!
//! impl AccessPolicy for Listeners {
//!     fn check(&self, facts: &ConnectionFacts) -> Verdict {
//!         if self.open.contains(&facts.listener()) {
//!             Verdict::Allow(None)
//!         } else {
//!             Verdict::Deny("this listener is closed".into())
//!         }
//!     }
//! }
//!
//! doorward_policy::export!(access: Listeners);
//!
//! // In `tests/`, natively, without any WebAssembly:
//! use doorward_policy::testing::{Given, configure};
//! let policy: Listeners = configure(r#"{ "open": ["public"] }"#).unwrap();
//! assert_eq!(policy.check(&Given::new().listener("public").connection()), Verdict::Allow(None));
//! let problems = configure::<Listeners>(r#"{ "open": ["public"], "close": [] }"#).err().unwrap();
//! assert_eq!(problems[0].path, "close");
//!
//! // Or as a list of facts and verdicts, which `doorward policy test` runs on the component as well.
//! use doorward_policy::testing::vectors;
//! vectors::access::<Listeners>(
//!     r#"
//!     [settings]
//!     open = ["public"]
//!
//!     [[vector]]
//!     name = "a listener on the list is open"
//!     expect = "allow"
//!     facts = { listener = "public" }
//!
//!     [[vector]]
//!     name = "any other is closed"
//!     expect = { deny = "this listener is closed" }
//!     facts = { listener = "inner" }
//!     "#,
//! );
//! ```
//!
//! | question | trait | in `export!` | answer |
//! | --- | --- | --- | --- |
//! | `access` | [`AccessPolicy`] | `access` | [`Verdict`] |
//! | `device` | [`DevicePolicy`] | `device` | [`Form`] or none |
//! | `template` | [`TemplatePolicy`] | `template` | a name or none |
//! | `auth-mode` | [`AuthModePolicy`] | `auth_mode` | [`Mode`] or none |
//! | `filter` | [`FilterPolicy`] | `filter` | [`Action`] |
//! | `route` | [`RoutePolicy`] | `route` | [`Destination`] or none |
//!
//! Such a crate is a `cdylib` (and an `rlib`, for its tests); `doorward policy build DIR -o FILE.wasm` makes the
//! component. A policy has no clock, files, network or randomness besides its facts, and should keep nothing from one
//! question to the next.

#![deny(unsafe_code, missing_docs)]

#[doc(hidden)]
pub mod bindings;
pub mod date;
mod facts;
pub mod glob;
#[doc(hidden)]
pub mod guest;
pub mod host_pattern;
pub mod log;
pub mod net;
mod questions;
mod settings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use facts::{ConnectionFacts, LoginFacts, RequestFacts, RouteFacts};
pub use questions::{AccessPolicy, AuthModePolicy, DevicePolicy, FilterPolicy, RoutePolicy, TemplatePolicy};
pub use questions::{Action, Answer, BothWays, Destination, Form, Header, Mode, Page, Verdict};
pub use schemars::{self, JsonSchema};
pub use settings::{Policy, Problem};

/// Makes a policy the answer to a question: `export!(access: MyPolicy);`, likewise `device`, `template`, `auth_mode`,
/// `filter`, `route`.
///
/// Once in a crate. Natively it only checks that the policy implements the trait of the question.
#[macro_export]
macro_rules! export {
    (access: $policy:ty) => {
        $crate::__export!($policy, $crate::AccessPolicy, access, export_access, Guest, {
            fn check() -> $crate::Verdict {
                $crate::guest::ask(&POLICY, |policy| policy.check(&$crate::ConnectionFacts::live()))
            }
        });
    };
    (device: $policy:ty) => {
        $crate::__export!($policy, $crate::DevicePolicy, device, export_device, Guest, {
            fn classify() -> Option<$crate::Form> {
                $crate::guest::ask(&POLICY, |policy| policy.classify(&$crate::RequestFacts::live()))
            }
        });
    };
    (template: $policy:ty) => {
        $crate::__export!($policy, $crate::TemplatePolicy, template, export_template, Guest, {
            fn select(form: $crate::Form) -> Option<String> {
                $crate::guest::ask(&POLICY, |policy| policy.select(&$crate::RequestFacts::live(), form))
            }
        });
    };
    (auth_mode: $policy:ty) => {
        $crate::__export!($policy, $crate::AuthModePolicy, auth_mode, export_auth_mode, Guest, {
            fn decide() -> Option<$crate::Mode> {
                $crate::guest::ask(&POLICY, |policy| policy.decide(&$crate::LoginFacts::live()))
            }
        });
    };
    (filter: $policy:ty) => {
        $crate::__export!($policy, $crate::FilterPolicy, filter, export_filter, Guest, {
            fn decide() -> $crate::Action {
                $crate::guest::ask(&POLICY, |policy| policy.decide(&$crate::RequestFacts::live()))
            }
        });
    };
    (route: $policy:ty) => {
        $crate::__export!($policy, $crate::RoutePolicy, route, export_route, Guest, {
            fn decide() -> Option<$crate::Destination> {
                $crate::guest::ask(&POLICY, |policy| policy.decide(&$crate::RouteFacts::live()))
            }
        });
    };
}

/// What [`export!`] is made of: the place of the one configured policy, and the exported functions around it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($policy:ty, $trait:path, $question:ident, $export:ident, $guest:ident, { $($answer:tt)* }) => {
        const _: () = {
            #[allow(dead_code, reason = "called for its bound only")]
            fn answers_the_question<P: $trait>() {}
            let _ = answers_the_question::<$policy>;
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings;

            ::std::thread_local! {
                static POLICY: ::std::cell::OnceCell<$policy> = const { ::std::cell::OnceCell::new() };
            }

            struct $guest;

            impl bindings::settings::exports::doorward::policy::settings::Guest for $guest {
                fn schema() -> ::std::string::String {
                    $crate::guest::schema::<$policy>()
                }

                fn configure(settings: ::std::string::String) -> Result<(), ::std::vec::Vec<$crate::Problem>> {
                    $crate::guest::configure(&POLICY, &settings)
                }
            }

            impl bindings::$question::exports::doorward::policy::$question::Guest for $guest {
                $($answer)*
            }

            bindings::settings::export_settings!($guest with_types_in bindings::settings);
            bindings::$question::$export!($guest with_types_in bindings::$question);
        };
    };
}
