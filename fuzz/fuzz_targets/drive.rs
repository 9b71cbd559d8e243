//! The loop between a machine and a transport that does anything a transport may do.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../xs-transport/tests/drive/script.rs"]
mod script;

fuzz_target!(|input: (Vec<script::Fate>, Vec<script::Call>)| {
    let (fates, calls) = input;
    script::run(fates, calls);
});
