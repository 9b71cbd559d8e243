//! The process of a contender.
//!
//! Each contender runs in a process of its own, so that one that hangs or crashes does not affect
//! the others. It prints `hello` once it is connected. For each line `run COUNT ROUND` on its
//! standard input it runs a round and prints a [`Tally`]. In a flood, it prints `ready` before it
//! receives the events.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::peers;
use crate::work::Tally;

/// Runs one round of a contender, given the number of operations and the number of the round.
pub(crate) type Run = Box<dyn FnMut(usize, usize) -> Tally>;

pub(crate) fn serve(contender: &str) -> Result<(), Box<dyn Error>> {
    let mut run = peers::start(contender)?;
    print_line("hello")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ').skip(1);
        let mut number = || words.next().unwrap_or_default().parse::<usize>();
        let (count, round) = (number()?, number()?);
        let (start, cpu) = (Instant::now(), cpu_time());
        let mut tally = run(count, round);
        if tally.elapsed_ns == 0 {
            tally.elapsed_ns = start.elapsed().as_nanos() as u64;
        }
        tally.cpu_ns = cpu_time() - cpu;
        print_line(&tally.to_string())?;
    }
    Ok(())
}

/// Prints a line at once, although standard output is a pipe.
pub(crate) fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
