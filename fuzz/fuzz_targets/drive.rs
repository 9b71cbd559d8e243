//! Runs the drive loop over a transport that behaves in any way that its contract permits.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../xs-transport/tests/drive/script.rs"]
mod script;

fuzz_target!(|input: (Vec<script::Outcome>, Vec<script::Call>)| {
    let (outcomes, calls) = input;
    script::run(outcomes, calls);
});
