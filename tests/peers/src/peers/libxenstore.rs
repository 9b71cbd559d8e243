//! libxenstore, the C library of Xen.

use std::ffi::{CStr, CString, c_char, c_uint, c_ulong, c_void};
use std::ptr::NonNull;
use std::thread;

use super::Started;
use crate::child::say;
use crate::work::{FLOODED, Flood, KEYS, THREADS, Tally, key};

#[repr(C)]
struct XsHandle {
    _private: [u8; 0],
}

#[link(name = "xenstore")]
unsafe extern "C" {
    fn xs_open(flags: c_ulong) -> *mut XsHandle;
    fn xs_read(xs: *mut XsHandle, tx: u32, path: *const c_char, len: *mut c_uint) -> *mut c_void;
    fn xs_watch(xs: *mut XsHandle, path: *const c_char, token: *const c_char) -> bool;
    fn xs_read_watch(xs: *mut XsHandle, num: *mut c_uint) -> *mut *mut c_char;
}

unsafe extern "C" {
    fn free(memory: *mut c_void);
}

/// A handle, which any number of threads may use.
#[derive(Clone, Copy)]
struct Xs(NonNull<XsHandle>);

// SAFETY: xenstore.h: the handle has locks of its own.
unsafe impl Send for Xs {}
// SAFETY: likewise.
unsafe impl Sync for Xs {}

/// What the library has allocated.
struct Owned(NonNull<c_void>, usize);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the library says that it is so long.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.1) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it came from malloc, and nobody else has it.
        unsafe { free(self.0.as_ptr()) }
    }
}

impl Xs {
    fn open() -> Result<Self, std::io::Error> {
        // SAFETY: it takes any flags.
        let handle = unsafe { xs_open(0) };
        NonNull::new(handle).map(Xs).ok_or_else(std::io::Error::last_os_error)
    }

    fn read(self, path: &CStr) -> Option<Owned> {
        let mut len = 0;
        // SAFETY: the handle is never closed; the path ends with a NUL.
        let value = unsafe { xs_read(self.0.as_ptr(), 0, path.as_ptr(), &mut len) };
        NonNull::new(value).map(|value| Owned(value, len as usize))
    }

    fn watch(self, path: &str) -> Result<(), std::io::Error> {
        let path = CString::new(path)?;
        // SAFETY: the handle is never closed; path and token end with a NUL.
        let set = unsafe { xs_watch(self.0.as_ptr(), path.as_ptr(), c"peers".as_ptr()) };
        if set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }

    /// Waits for an event, and shows its path.
    fn read_watch<T>(self, look: impl FnOnce(&str) -> T) -> T {
        let mut num = 0;
        // SAFETY: the handle is never closed.
        let event = unsafe { xs_read_watch(self.0.as_ptr(), &mut num) };
        let event = NonNull::new(event).expect("an event");
        let _owned = Owned(event.cast(), 0);
        // SAFETY: the first one of `num` strings is the path; they end with the array.
        let path = unsafe { CStr::from_ptr(*event.as_ptr()) };
        look(path.to_str().expect("a path"))
    }
}

/// With a watch the library has a thread that receives everything.
pub(super) fn read(watched: bool) -> Started {
    let xs = Xs::open()?;
    if watched {
        xs.watch("/peers/watched")?;
    }
    let keys = keys();
    Ok(Box::new(move |count, _| one_by_one(xs, &keys, count)))
}

pub(super) fn threads() -> Started {
    let xs = Xs::open()?;
    let keys = keys();
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let one = || one_by_one(xs, &keys, count / THREADS);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
            for thread in threads {
                tally.add(&thread.join().expect("a thread's tally"));
            }
        });
        tally
    }))
}

pub(super) fn flood() -> Started {
    let xs = Xs::open()?;
    xs.watch(FLOODED)?;
    Ok(Box::new(move |count, round| {
        let mut flood = Flood::new(count, round);
        say("ready").expect("to speak");
        while xs.read_watch(|path| flood.note(path)) {}
        flood.done()
    }))
}

fn one_by_one(xs: Xs, keys: &[CString], count: usize) -> Tally {
    let mut tally = Tally::default();
    for at in 0..count {
        tally.note(xs.read(&keys[at % KEYS]), at);
    }
    tally
}

fn keys() -> Vec<CString> {
    (0..KEYS).map(|at| CString::new(key(at)).expect("a path")).collect()
}
