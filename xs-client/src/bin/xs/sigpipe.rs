//! The dispositions of signals that the program inherits, above all that of SIGPIPE. All unsafe
//! code of the program is here.
//!
//! Rust's runtime ignores SIGPIPE before it calls `main`, so that a lost connection is an error
//! instead of the end of the program. The inherited disposition decides what happens when the
//! reader of the output has closed it, and only code that runs before the runtime can see the
//! disposition.
#![allow(unsafe_code)]

use std::mem;
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::emulate_default_handler;

/// The exit status that a shell reports for a process killed by SIGPIPE.
const KILLED_STATUS: i32 = 141;

static IS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Makes the C library call [`record_disposition`] before `main`, in static programs too.
// SAFETY: `.init_array` holds pointers to C functions. The function does not use the arguments that
// some C libraries pass, and needs nothing that Rust's runtime sets up.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = record_disposition;

extern "C" fn record_disposition() {
    IS_IGNORED.store(ignores(libc::SIGPIPE), Ordering::Relaxed);
}

/// Returns whether the program ignores a signal at present. Until the program handles the signal,
/// this is the disposition that it has inherited: `nohup` ignores SIGHUP, for example.
pub(crate) fn ignores(signal: i32) -> bool {
    // SAFETY: sigaction consists of integers, pointers and arrays of integers, for which zero is
    // valid.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: the null pointer makes sigaction(2) change nothing, and `action` is a local
    // sigaction, which outlives the call.
    let rc = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    rc == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Returns whether the program was started with SIGPIPE ignored, as services of systemd are.
pub(crate) fn is_ignored() -> bool {
    IS_IGNORED.load(Ordering::Relaxed)
}

/// Ends the program as SIGPIPE does.
pub(crate) fn die() -> ! {
    // Does not return, unless the signal is unknown.
    let _ = emulate_default_handler(SIGPIPE);
    process::exit(KILLED_STATUS)
}
