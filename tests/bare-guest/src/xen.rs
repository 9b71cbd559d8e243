//! The hypercalls that a guest needs for Xenstore.
//!
//! All addresses are physical ones, since every address is mapped to itself.

use core::arch::{asm, global_asm, x86_64::__cpuid};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering};

// Xen fills the hypercall page. The other page makes room for the page that Xen shares with the guest.
global_asm!(
    r#"
    .pushsection .bss.xen, "aw", @nobits
    .balign 4096
    .globl hypercall_page
hypercall_page: .skip 4096
    .globl shared_info
shared_info: .skip 4096
    .popsection
    "#
);

unsafe extern "C" {
    static hypercall_page: [u8; 4096];
    static shared_info: SharedInfo;
}

/// `struct shared_info` of a 64-bit guest, as far as it is used here.
#[repr(C)]
struct SharedInfo {
    vcpus: [[u64; 8]; 32],
    pending: [AtomicU64; 64],
    masked: [AtomicU64; 64],
}

const DOMID_SELF: u16 = 0x7ff0;

/// The numbers of hypercalls (`xen/include/public/xen.h`).
const MEMORY_OP: usize = 12;
const SCHED_OP: usize = 29;
const EVENT_CHANNEL_OP: usize = 32;
const HVM_OP: usize = 34;

/// Prepares hypercalls and event channels. Called once, before everything else.
pub fn start() {
    let leaf = (0x4000_0000u32..0x4001_0000)
        .step_by(0x100)
        .find(|leaf| {
            let id = __cpuid(*leaf);
            (id.ebx, id.ecx, id.edx) == (0x566e_6558, 0x65584d4d, 0x4d4d566e)
        })
        .expect("this is not Xen");
    let msr = __cpuid(leaf + 2).ebx;
    let address = &raw const hypercall_page as u64;
    // SAFETY: Xen writes to the page, which is reserved for this and which nothing else reads.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") address as u32, in("edx") (address >> 32) as u32);
    }

    /// `struct xen_add_to_physmap`
    #[repr(C)]
    struct AddToPhysmap {
        domid: u16,
        size: u16,
        space: u32,
        index: u64,
        frame: u64,
    }
    const ADD_TO_PHYSMAP: usize = 7;
    const SPACE_SHARED_INFO: u32 = 0;
    let add = AddToPhysmap {
        domid: DOMID_SELF,
        size: 0,
        space: SPACE_SHARED_INFO,
        index: 0,
        frame: &raw const shared_info as u64 / 4096,
    };
    // SAFETY: the page that is replaced is reserved for this. From now on Xen changes it, and it
    // consists of atomics.
    let status = unsafe { hypercall(MEMORY_OP, ADD_TO_PHYSMAP, &raw const add as usize) };
    assert_eq!(status, 0, "cannot map the shared page");
    // Without handlers for interrupts, events only set their pending bit.
    shared().masked.iter().for_each(|word| word.store(!0, Ordering::Relaxed));
}

fn shared() -> &'static SharedInfo {
    // SAFETY: the page is always mapped, and it consists of atomics.
    unsafe { &shared_info }
}

/// Makes a hypercall with two arguments.
///
/// # Safety
/// The arguments have to fit the hypercall: Xen reads from addresses in them, and writes to them.
unsafe fn hypercall(number: usize, first: usize, second: usize) -> isize {
    let result;
    // SAFETY: the page has an entry of 32 bytes for each hypercall, which changes no registers but
    // these. The caller answers for the arguments.
    unsafe {
        asm!(
            "call {entry}",
            entry = in(reg) &raw const hypercall_page as usize + 32 * number,
            inout("rdi") first => _,
            inout("rsi") second => _,
            out("rax") result,
            out("rcx") _,
            out("rdx") _,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    result
}

/// A parameter that the toolstack has set for this guest (`xen/include/public/hvm/params.h`).
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Parameter {
    StoreFrame = 1,
    StorePort = 2,
    ConsoleFrame = 17,
    ConsolePort = 18,
}

/// Returns the value of a parameter.
pub fn parameter(index: Parameter) -> u64 {
    /// `struct xen_hvm_param`
    #[repr(C)]
    struct Param {
        domid: u16,
        index: u32,
        value: u64,
    }
    const GET_PARAM: usize = 1;
    let mut param = Param { domid: DOMID_SELF, index: index as u32, value: 0 };
    // SAFETY: Xen reads and writes the structure.
    let status = unsafe { hypercall(HVM_OP, GET_PARAM, &raw mut param as usize) };
    assert_eq!(status, 0, "cannot read a parameter");
    param.value
}

/// An event channel.
#[derive(Clone, Copy)]
pub struct Port(pub u32);

impl Port {
    /// Notifies the other end.
    pub fn notify(self) {
        const SEND: usize = 4;
        // SAFETY: Xen reads the number.
        unsafe { hypercall(EVENT_CHANNEL_OP, SEND, &raw const self.0 as usize) };
    }

    /// Clears a notification of the other end. Look at the ring after this, not before: otherwise a
    /// notification in between is lost.
    pub fn clear(self) {
        shared().pending[self.0 as usize / 64].fetch_and(!(1 << (self.0 % 64)), Ordering::SeqCst);
    }

    /// Waits for a notification, and returns at once if there is one that was not cleared.
    pub fn wait(self) {
        self.wait_until(0);
    }

    /// Like [`wait`](Self::wait), but for some milliseconds at most.
    pub fn wait_for(self, milliseconds: u64) {
        self.wait_until(nanoseconds() + milliseconds * 1_000_000);
    }

    /// Waits until a time in nanoseconds; 0 is never.
    fn wait_until(self, timeout: u64) {
        /// `struct sched_poll`
        #[repr(C)]
        struct Poll {
            ports: *const u32,
            len: u32,
            timeout: u64,
        }
        const POLL: usize = 3;
        let poll = Poll { ports: &raw const self.0, len: 1, timeout };
        // SAFETY: Xen reads the structure and the number.
        unsafe { hypercall(SCHED_OP, POLL, &raw const poll as usize) };
    }
}

/// Lets another domain run.
pub fn give_way() {
    const YIELD: usize = 0;
    // SAFETY: there is no argument.
    unsafe { hypercall(SCHED_OP, YIELD, 0) };
}

/// Why a guest ends (`xen/include/public/sched.h`).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Shutdown {
    PowerOff = 0,
    Reboot = 1,
    Crash = 3,
}

/// Ends the guest.
pub fn shutdown(reason: Shutdown) -> ! {
    const SHUTDOWN: usize = 2;
    let reason = reason as u32;
    loop {
        // SAFETY: Xen reads the number.
        unsafe { hypercall(SCHED_OP, SHUTDOWN, &raw const reason as usize) };
        spin_loop();
    }
}

/// Returns the time since the machine was started in nanoseconds. A kernel would compute it from the
/// processor's counter and `struct vcpu_time_info`.
pub fn nanoseconds() -> u64 {
    const GET_TIME: usize = 10;
    let mut now = 0u64;
    // SAFETY: Xen writes the number.
    unsafe { hypercall(HVM_OP, GET_TIME, &raw mut now as usize) };
    now
}
