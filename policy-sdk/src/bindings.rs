//! The bindings that wit-bindgen generates from `wit/`.
//!
//! The worlds in `wit/worlds.wit` share their facts and all export `settings`, and the macros of a world carry fixed
//! names, so all worlds in one crate would collide. The pieces are therefore generated one by one (all facts; the
//! settings; each question); wit-component joins those that a policy uses, and what comes out is one of the worlds.
//!
//! Invariants:
//! - This is the only file with `unsafe` in it: what the macros below expand to.
//! - A piece becomes part of a component only if its `export_…!` macro is called.

#![allow(unsafe_code, reason = "generated code: the canonical ABI is made of raw pointers and exported symbols")]
#![allow(missing_docs, reason = "generated code: the WIT files say what everything is")]

/// Every fact, the log and the clock; those that a policy never calls are not imported by its component.
pub mod facts {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package doorward:sdk-facts;
            world facts {
                import doorward:policy/log@0.1.1;
                import doorward:policy/clock@0.1.1;
                import doorward:policy/lists@0.1.1;
                import doorward:policy/connection@0.1.1;
                import doorward:policy/request@0.1.1;
                import doorward:policy/login@0.1.1;
                import doorward:policy/nodes@0.1.1;
                import doorward:policy/session@0.1.1;
                import doorward:policy/usage@0.1.1;
            }
        ",
        generate_all,
    });
}

/// `settings`, which every policy exports.
pub mod settings {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package doorward:sdk-settings; world settings { export doorward:policy/settings@0.1.1; }",
        export_macro_name: "export_settings",
        pub_export_macro: true,
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

/// The question `access`.
pub mod access {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package doorward:sdk-access; world access { export doorward:policy/access@0.1.1; }",
        export_macro_name: "export_access",
        pub_export_macro: true,
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

/// The question `device`.
pub mod device {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package doorward:sdk-device; world device { export doorward:policy/device@0.1.1; }",
        export_macro_name: "export_device",
        pub_export_macro: true,
        additional_derives: [serde::Deserialize, schemars::JsonSchema],
        additional_type_attributes: { "doorward:policy/device@0.1.1/form": [#[serde(rename_all = "kebab-case")]] },
        generate_all,
    });
}

/// The question `template`.
pub mod template {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package doorward:sdk-template; world template { export doorward:policy/template@0.1.1; }",
        export_macro_name: "export_template",
        pub_export_macro: true,
        with: { "doorward:policy/device@0.1.1": super::device::exports::doorward::policy::device },
        generate_all,
    });
}

/// The question `auth-mode`.
pub mod auth_mode {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package doorward:sdk-auth-mode; world auth-mode { export doorward:policy/auth-mode@0.1.1; }",
        export_macro_name: "export_auth_mode",
        pub_export_macro: true,
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

/// The question `filter`.
pub mod filter {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package doorward:sdk-filter; world filter { export doorward:policy/filter@0.1.1; }",
        export_macro_name: "export_filter",
        pub_export_macro: true,
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}

/// The question `route`.
pub mod route {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package doorward:sdk-route; world route { export doorward:policy/route@0.1.1; }",
        export_macro_name: "export_route",
        pub_export_macro: true,
        additional_derives: [PartialEq, Eq],
        generate_all,
    });
}
