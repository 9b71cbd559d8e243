//! System calls that fail on request.
//!
//! The functions of the C library that make system calls are defined here again. The linker prefers
//! these definitions, also for the standard library and for other crates. They count the calls of
//! all threads but [excluded](exclude) ones, let one of them fail, and forward the others to the C
//! library.
#![allow(unsafe_code, reason = "the C library is interposed")]

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use libc::{
    EACCES, EAGAIN, ECONNREFUSED, ECONNRESET, EINTR, EIO, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM,
    ENOSPC, ENOTCONN, EPIPE,
};

/// The errors with which each call can fail in a correct program.
const ERRORS: &[(&str, &[c_int])] = &[
    ("connect", &[EINTR, EAGAIN, ECONNREFUSED, ENOENT, EACCES]),
    ("epoll_create1", &[EMFILE, ENFILE, ENOMEM]),
    ("epoll_ctl", &[ENOMEM, ENOSPC]),
    ("epoll_wait", &[EINTR]),
    ("eventfd", &[EMFILE, ENFILE, ENOMEM]),
    ("fcntl", &[EMFILE]),
    ("poll", &[EINTR, ENOMEM]),
    ("pthread_create", &[EAGAIN]),
    ("read", &[EINTR, EAGAIN, EIO]),
    ("recv", &[EINTR, EAGAIN, ENOMEM, ECONNRESET]),
    // A byte that ends the poll of another thread. EAGAIN would mean that there are such bytes.
    ("send a byte", &[EINTR, ENOMEM, ENOBUFS]),
    ("send", &[EINTR, EAGAIN, ENOMEM, ENOBUFS, EPIPE, ECONNRESET]),
    ("setsockopt", &[ENOMEM]),
    ("shutdown", &[ENOTCONN]),
    ("socket", &[EMFILE, ENFILE, ENOMEM]),
    ("socketpair", &[EMFILE, ENFILE, ENOMEM]),
    ("write", &[EINTR, EAGAIN, ENOMEM, EIO]),
];

const NEVER: usize = usize::MAX;

/// The number of the call that fails, and which of its errors it gets.
static TARGET: AtomicUsize = AtomicUsize::new(NEVER);
static VARIANT: AtomicUsize = AtomicUsize::new(0);

/// The descriptor is polled. EAGAIN must then be true, or a program waits for an event that was.
static IS_POLLED: AtomicBool = AtomicBool::new(false);

/// How many calls there were.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The failed call: its position in [`ERRORS`], plus 1.
static FAILED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static EXCLUDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a function whose calls are neither counted nor fail.
pub(crate) fn exclude<T>(function: impl FnOnce() -> T) -> T {
    let before = EXCLUDED.replace(true);
    let result = function();
    EXCLUDED.set(before);
    result
}

/// The result of [`fail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// A call of this name failed with this error.
    Call(&'static str, c_int),
    /// The call has fewer errors.
    NoVariant,
    /// There were fewer calls.
    NoCall,
}

/// Lets a call fail from now on: the one with this number, with this one of its errors.
pub(crate) fn arm(target: usize, variant: usize, is_polled: bool) {
    TARGET.store(NEVER, SeqCst);
    IS_POLLED.store(is_polled, SeqCst);
    FAILED.store(0, SeqCst);
    COUNT.store(0, SeqCst);
    VARIANT.store(variant, SeqCst);
    TARGET.store(target, SeqCst);
}

/// Lets no call fail from now on. Returns which one has.
pub(crate) fn disarm() -> Failed {
    let target = TARGET.swap(NEVER, SeqCst);
    let variant = VARIANT.load(SeqCst);
    match FAILED.load(SeqCst).checked_sub(1).map(|at| ERRORS[at]) {
        Some((name, errors)) if variant < errors.len() => Failed::Call(name, errors[variant]),
        Some(_) => Failed::NoVariant,
        None if COUNT.load(SeqCst) > target => Failed::NoVariant,
        None => Failed::NoCall,
    }
}

/// Counts a call. Returns the error with which it fails.
fn injected(name: &str) -> Option<c_int> {
    let target = TARGET.load(SeqCst);
    if target == NEVER || EXCLUDED.get() || COUNT.fetch_add(1, SeqCst) != target {
        return None;
    }
    let at = ERRORS.iter().position(|(known, _)| *known == name)?;
    FAILED.store(at + 1, SeqCst);
    let error = ERRORS[at].1.get(VARIANT.load(SeqCst)).copied()?;
    let is_true = IS_POLLED.load(SeqCst) && ["read", "recv", "send"].contains(&name);
    Some(error).filter(|error| *error != EAGAIN || !is_true)
}

/// Returns the function of the C library.
fn real(name: &CStr) -> *mut c_void {
    // SAFETY: the name is a C string.
    let function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!function.is_null());
    function
}

/// Returns the name of a call in [`ERRORS`]. Calls of some lengths have fewer errors.
fn entry(name: &'static str, len: usize) -> &'static str {
    match (name, len) {
        ("send", 1) => "send a byte",
        // To an eventfd. It fails only if the counter is full, which is as good as success.
        ("write", 8) => "none",
        _ => name,
    }
}

/// Defines functions that fail with -1 and set errno. `[len]` names the parameter that says how many
/// bytes are sent.
macro_rules! interpose {
    ($($name:ident $([$len:ident])? ($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        /// # Safety
        /// As for the function of the C library.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $type),*) -> $result {
            if let Some(error) = injected(entry(stringify!($name), 0 $(+ $len)?)) {
                // SAFETY: errno is a variable of this thread.
                unsafe { *libc::__errno_location() = error };
                return -1;
            }
            let name = CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes());
            let real = real(name.expect("the name has no NUL"));
            // SAFETY: the function of this name in the C library has this type. For the variadic
            // ones, an integer or a pointer is passed in the same way.
            let real: unsafe extern "C" fn($($type),*) -> $result = unsafe { std::mem::transmute(real) };
            // SAFETY: the caller's promise is passed on.
            unsafe { real($($arg),*) }
        }
    )*};
}

interpose! {
    connect(fd: c_int, address: *const c_void, len: c_uint) -> c_int;
    epoll_create1(flags: c_int) -> c_int;
    epoll_ctl(epoll: c_int, op: c_int, fd: c_int, event: *mut c_void) -> c_int;
    epoll_wait(epoll: c_int, events: *mut c_void, most: c_int, timeout: c_int) -> c_int;
    eventfd(value: c_uint, flags: c_int) -> c_int;
    fcntl(fd: c_int, command: c_int, arg: c_long) -> c_int;
    poll(fds: *mut c_void, count: libc::nfds_t, timeout: c_int) -> c_int;
    read(fd: c_int, buf: *mut c_void, len: usize) -> isize;
    recv(fd: c_int, buf: *mut c_void, len: usize, flags: c_int) -> isize;
    send[len](fd: c_int, buf: *const c_void, len: usize, flags: c_int) -> isize;
    setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: c_uint) -> c_int;
    shutdown(fd: c_int, how: c_int) -> c_int;
    socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    socketpair(domain: c_int, kind: c_int, protocol: c_int, fds: *mut c_int) -> c_int;
    write[len](fd: c_int, buf: *const c_void, len: usize) -> isize;
}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// # Safety
/// As for the function of the C library.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const c_void,
    start: Start,
    arg: *mut c_void,
) -> c_int {
    if let Some(error) = injected("pthread_create") {
        return error;
    }
    type PthreadCreate =
        unsafe extern "C" fn(*mut libc::pthread_t, *const c_void, Start, *mut c_void) -> c_int;
    // SAFETY: the function of this name in the C library has this type.
    let real: PthreadCreate = unsafe { std::mem::transmute(real(c"pthread_create")) };
    // SAFETY: the caller's promise is passed on.
    unsafe { real(thread, attributes, start, arg) }
}

/// Whether a failed call tells nothing about the connection.
pub(crate) fn is_passing(error: c_int) -> bool {
    [EINTR, EAGAIN, ENOMEM, ENOBUFS, EMFILE, ENFILE, ENOSPC].contains(&error)
}
