//! Any text given as a plan: `cargo +nightly fuzz run plan` from the project's root.
#![no_main]

use std::path::Path;

use piggyback_compare::Plan;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Plan::parse(Path::new("plan.toml"), text) {
        Ok(plan) => {
            assert!(!plan.seeds.is_empty() && !plan.data.is_empty());
            for method in &plan.methods {
                assert!(!method.seeds(&plan).is_empty() && !method.orders(&plan).is_empty());
            }
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains("plan.toml"), "{told}");
        }
    }
});
