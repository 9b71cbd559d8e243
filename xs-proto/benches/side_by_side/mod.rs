//! Compares the speed of several functions. They run in turns, so that the ratios hardly depend on
//! the machine and its load.

use std::time::Instant;

const ROUNDS: usize = 101;

/// The name of a function to measure, and the function, which runs one round.
pub(crate) type Contender<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// Runs all contenders in turns, and prints for each the median time per operation and the median
/// ratio to the first contender.
///
/// A round consists of `count` operations, which process `bytes` bytes in all.
pub(crate) fn compare(title: &str, count: usize, bytes: usize, mut contenders: Vec<Contender<'_>>) {
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for round in 0..=ROUNDS {
        let times: Vec<f64> = contenders
            .iter_mut()
            .map(|(_, run)| {
                let start = Instant::now();
                run();
                start.elapsed().as_secs_f64()
            })
            .collect();
        // The first round is a warm-up.
        if round > 0 {
            rounds.push(times);
        }
    }
    println!("\n{title}");
    println!("  {:34} {:>8} {:>10} {:>10} {:>8}", "", "ns each", "million/s", "MB/s", "ratio");
    for (at, (name, _)) in contenders.iter().enumerate() {
        let time = median(rounds.iter().map(|times| times[at]));
        let ratio = median(rounds.iter().map(|times| times[at] / times[0]));
        let each = time / count as f64;
        let speed = bytes as f64 / time / 1e6;
        println!("  {name:34} {:8.1} {:10.2} {speed:10.0} {ratio:8.2}", each * 1e9, 1e-6 / each);
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
