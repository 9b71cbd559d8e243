//! Figures that hold on any machine: ratios between things measured in turn, round by round.

use std::time::Instant;

const ROUNDS: usize = 101;

/// Something to measure: its name and one round of it.
pub(crate) type Contender<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// Measures a round of each contender in turn, over and over, and prints for each the median cost
/// of one of the `count` things that a round does, and the median ratio to the first contender.
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
        // The first one only warms up.
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
