//! Runs the client machine against the server machine. The input makes all decisions of the simulator,
//! which checks that the machines agree.

#![no_main]

use std::cell::Cell;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;

#[path = "../../xs-proto/tests/pair/simulator.rs"]
mod simulator;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let one_at_a_time = input.arbitrary().unwrap_or_default();
    let settle = input.arbitrary().unwrap_or_default();
    let undecided = Cell::new(true);
    let mut choose = |bound: usize| {
        undecided.set(!input.is_empty());
        input.choose_index(bound).unwrap_or_default()
    };
    let mut pair = simulator::Pair::new(one_at_a_time, &mut choose);
    while undecided.get() {
        pair.step();
    }
    if settle {
        pair.settle();
    }
    pair.close();
});
