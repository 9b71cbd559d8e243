//! Xen's console: a page with a ring for each direction, like that of Xenstore
//! (`xen/include/public/io/console.h`).

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::xen::{self, Parameter, Port};

/// Prints a line.
#[macro_export]
macro_rules! print_line {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

#[repr(C)]
struct ConsolePage {
    input: [AtomicU8; 1024],
    output: [AtomicU8; 2048],
    input_consumer: AtomicU32,
    input_producer: AtomicU32,
    output_consumer: AtomicU32,
    output_producer: AtomicU32,
}

struct Console {
    page: &'static ConsolePage,
    port: Port,
}

/// Prints a line. Prefer the macro [`print_line`].
pub fn print(line: fmt::Arguments<'_>) {
    let mut console = Console::find();
    let _ = fmt::write(&mut console, format_args!("{line}\r\n"));
    console.port.notify();
}

/// Waits until dom0 has taken everything, at most for two seconds.
pub fn flush() {
    let page = Console::find().page;
    let end = xen::nanoseconds() + 2_000_000_000;
    while page.output_consumer.load(Ordering::Acquire)
        != page.output_producer.load(Ordering::Relaxed)
        && xen::nanoseconds() < end
    {
        xen::give_way();
    }
}

impl Console {
    fn find() -> Self {
        let frame = xen::parameter(Parameter::ConsoleFrame);
        let port = Port(xen::parameter(Parameter::ConsolePort) as u32);
        // SAFETY: the page is always there, and it consists of atomics.
        Console { page: unsafe { &*((frame * 4096) as *const ConsolePage) }, port }
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let at = self.page.output_producer.load(Ordering::Relaxed);
            while at.wrapping_sub(self.page.output_consumer.load(Ordering::Acquire)) >= 2048 {
                self.port.notify();
                xen::give_way();
            }
            self.page.output[at as usize % 2048].store(byte, Ordering::Relaxed);
            self.page.output_producer.store(at.wrapping_add(1), Ordering::Release);
        }
        Ok(())
    }
}
