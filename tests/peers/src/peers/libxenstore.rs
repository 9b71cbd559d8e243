//! libxenstore, the C library of Xen.

use std::ffi::{CStr, CString, c_char, c_uint, c_ulong, c_void};
use std::ptr::NonNull;
use std::thread;

use super::StartResult;
use crate::child::print_line;
use crate::work::{FLOOD_ROOT, Flood, KEYS, THREADS, Tally, key};

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

/// A handle, which any number of threads may use. It is never closed.
#[derive(Clone, Copy)]
struct Xs(NonNull<XsHandle>);

// SAFETY: xenstore.h documents that the handle has its own locks, so any thread may use it.
unsafe impl Send for Xs {}
// SAFETY: those locks also allow calls from several threads at once.
unsafe impl Sync for Xs {}

/// Memory that the library has allocated, and its length.
struct Owned(NonNull<c_void>, usize);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the library returned a pointer to this many bytes, which `drop` frees later.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.1) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the library allocates results with malloc and leaves freeing them to the caller.
        // There is one `Owned` for each result.
        unsafe { free(self.0.as_ptr()) }
    }
}

impl Xs {
    fn open() -> Result<Self, std::io::Error> {
        // SAFETY: xs_open takes no pointers, and any flags.
        let handle = unsafe { xs_open(0) };
        NonNull::new(handle).map(Xs).ok_or_else(std::io::Error::last_os_error)
    }

    fn read(self, path: &CStr) -> Option<Owned> {
        let mut len = 0;
        // SAFETY: the handle is open, the path ends with a NUL, and `len` outlives the call.
        let value = unsafe { xs_read(self.0.as_ptr(), 0, path.as_ptr(), &mut len) };
        NonNull::new(value).map(|value| Owned(value, len as usize))
    }

    fn watch(self, path: &str) -> Result<(), std::io::Error> {
        let path = CString::new(path)?;
        // SAFETY: the handle is open, and path and token end with a NUL.
        let set = unsafe { xs_watch(self.0.as_ptr(), path.as_ptr(), c"peers".as_ptr()) };
        if set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }

    /// Waits for an event, and passes its path to `handle`.
    fn read_watch<T>(self, handle: impl FnOnce(&str) -> T) -> T {
        let mut num = 0;
        // SAFETY: the handle is open, and `num` outlives the call.
        let event = unsafe { xs_read_watch(self.0.as_ptr(), &mut num) };
        let event = NonNull::new(event).expect("no event");
        let _owned = Owned(event.cast(), 0);
        // SAFETY: the event is an array of strings in one allocation, which `_owned` frees at the end
        // of this function. The first string is the path, and ends with a NUL.
        let path = unsafe { CStr::from_ptr(*event.as_ptr()) };
        handle(path.to_str().expect("not UTF-8"))
    }
}

/// Reads nodes. With a watch, the library has a thread that receives all messages.
pub(super) fn read(watched: bool) -> StartResult {
    let xs = Xs::open()?;
    if watched {
        xs.watch("/peers/watched")?;
    }
    let keys = keys();
    Ok(Box::new(move |count, _| read_serially(xs, &keys, count)))
}

pub(super) fn threads() -> StartResult {
    let xs = Xs::open()?;
    let keys = keys();
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let read = || read_serially(xs, &keys, count / THREADS);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(read)).collect();
            for thread in threads {
                tally.add(&thread.join().expect("a thread panicked"));
            }
        });
        tally
    }))
}

pub(super) fn flood() -> StartResult {
    let xs = Xs::open()?;
    xs.watch(FLOOD_ROOT)?;
    Ok(Box::new(move |count, round| {
        let mut flood = Flood::new(count, round);
        print_line("ready").expect("cannot print");
        while xs.read_watch(|path| flood.record(path)) {}
        flood.finish()
    }))
}

fn read_serially(xs: Xs, keys: &[CString], count: usize) -> Tally {
    let mut tally = Tally::default();
    for at in 0..count {
        tally.record(xs.read(&keys[at % KEYS]), at);
    }
    tally
}

fn keys() -> Vec<CString> {
    (0..KEYS).map(|at| CString::new(key(at)).expect("NUL in a path")).collect()
}
