//! Client and server connections joined without sockets.

mod faults;
mod one_at_a_time;
mod pending;
mod simulator;

use simulator::Pair;

/// Runs a simulation with 150 seeds. If it fails, the last seed printed reproduces the failure.
fn simulate(one_at_a_time: bool, mut run: impl FnMut(Pair<'_>)) {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut state = seed;
        let mut choose = |bound: usize| {
            // splitmix64
            state = u64::wrapping_add(state, 0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % bound as u64) as usize
        };
        run(Pair::new(one_at_a_time, &mut choose));
    }
}

#[test]
fn every_request_is_answered_exactly_once() {
    for one_at_a_time in [false, true] {
        simulate(one_at_a_time, |mut pair| {
            for _ in 0..4 {
                (0..100).for_each(|_| pair.step());
                pair.settle();
            }
            pair.close();
        });
    }
}

#[test]
fn closing_midway_reports_the_right_error() {
    for one_at_a_time in [false, true] {
        simulate(one_at_a_time, |mut pair| {
            (0..120).for_each(|_| pair.step());
            pair.close();
        });
    }
}

#[test]
fn connections_can_be_restarted_after_any_end() {
    for one_at_a_time in [false, true] {
        simulate(one_at_a_time, |mut pair| {
            for _ in 0..3 {
                (0..60).for_each(|_| pair.step());
                pair.close();
                pair.restart();
            }
            (0..60).for_each(|_| pair.step());
            pair.settle();
            pair.close();
        });
    }
}
