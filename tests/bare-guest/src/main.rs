//! A Xen guest without an operating system.
//!
//! It boots as a PVH guest, finds its Xenstore ring, tests xenstored over it, prints what it did and
//! how long this took, and ends with a result. See README.md.
//!
//! To use Xenstore in a kernel of yours, begin with [`store`], and with the hypercalls in [`xen`].
#![no_std]
#![no_main]

extern crate alloc;

mod boot;
mod checks;
mod console;
mod heap;
mod hostile;
mod store;
mod xen;

use alloc::format;
use core::panic::PanicInfo;

use crate::store::{Result, Store};
use crate::xen::Shutdown;

/// The words of the command line.
#[derive(Clone, Copy)]
pub struct Options<'a>(&'a str);

impl<'a> Options<'a> {
    /// Returns the value of `name=value`.
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.0.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Returns whether a word is there.
    pub fn has(self, word: &str) -> bool {
        self.0.split_whitespace().any(|other| other == word)
    }
}

fn main(command_line: &str) -> ! {
    xen::start();
    let options = Options(command_line);
    let begin = xen::nanoseconds();
    let (status, reason) = match run(options) {
        Ok(reason) => (0, reason),
        Err(error) => {
            print_line!("FAILED: {error}");
            (1, Shutdown::PowerOff)
        }
    };
    let time = (xen::nanoseconds() - begin) / 1_000_000;
    print_line!("done in {time} ms, with {} KiB of heap", heap::used() / 1024);
    end(options.value("token"), status, reason)
}

fn run(options: Options<'_>) -> Result<Shutdown> {
    let mut store = Store::connect()?;
    if let Some(nonce) = options.value("nonce") {
        store.write("data/nonce", nonce.as_bytes())?;
        store.write("data/time", format!("{}", xen::nanoseconds() / 1000).as_bytes())?;
    }
    if let Some(attack) = options.value("hostile") {
        hostile::attack(&mut store, attack)?;
    }
    checks::run(&mut store, options)
}

/// Reports the result and ends the guest. The token marks the line for whatever reads the console.
fn end(token: Option<&str>, status: u32, reason: Shutdown) -> ! {
    print_line!("{} exit={status}", token.unwrap_or("bare-guest"));
    console::flush();
    xen::shutdown(reason)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print_line!("{info}");
    console::flush();
    xen::shutdown(Shutdown::Crash)
}
