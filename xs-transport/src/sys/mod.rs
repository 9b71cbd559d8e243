//! Descriptors, system calls, and the number of forks. All unsafe code of the crate is here.
//!
//! On systems other than Unix, there are no descriptors. The in-memory xenstored, and transports
//! that a program implements itself, do not need any.

mod lazy_waker;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod waker;
#[cfg(all(target_os = "linux", feature = "xen"))]
pub(crate) mod xen;

pub(crate) use self::lazy_waker::LazyWaker;
#[cfg(target_os = "linux")]
pub(crate) use self::linux::*;
#[cfg(not(unix))]
pub(crate) use self::other::*;
#[cfg(unix)]
pub(crate) use self::unix::*;
#[cfg(unix)]
pub(crate) use self::waker::Waker;

/// The descriptor of a [`Transport`](crate::Transport), to be watched with poll(2) and the like.
///
/// On systems other than Unix, there is no value of this type.
#[cfg(unix)]
pub type Descriptor<'a> = std::os::fd::BorrowedFd<'a>;

/// The descriptor of a [`Transport`](crate::Transport). On this system, there is no value of this
/// type.
#[cfg(not(unix))]
pub type Descriptor<'a> = (std::convert::Infallible, std::marker::PhantomData<&'a ()>);
