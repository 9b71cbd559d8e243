//! The ends of a ring, machine against machine, over a page in memory.

mod ends;
mod hostile;
mod litmus;
mod streams;
