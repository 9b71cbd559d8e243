//! A contender: a process of its own, so that one that hangs or dies takes nobody along.
//!
//! It says `hello` when it is ready. To `run COUNT ROUND` it answers with a [`Tally`]; before it
//! takes the events of a flood it says `ready`.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::peers;
use crate::work::Tally;

/// What a contender does in a round: so many things, in the round of this number.
pub(crate) type Run = Box<dyn FnMut(usize, usize) -> Tally>;

pub(crate) fn serve(contender: &str) -> Result<(), Box<dyn Error>> {
    let mut run = peers::start(contender)?;
    say("hello")?;
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
        say(&tally.to_string())?;
    }
    Ok(())
}

pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
