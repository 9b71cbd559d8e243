//! The memory that xs-proto allocates: buffers, and the values in replies.
//!
//! A kernel has an allocator already. This one is as small as can be: sizes are rounded up to powers
//! of two, and each size has a list of the blocks that were freed. Memory never returns from one size
//! to another.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

const SIZE: usize = 16 << 20;

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(State { used: 0, free: [null_mut(); 32] }));

static MEMORY: Memory = Memory(UnsafeCell::new([0; SIZE]));

#[repr(align(4096))]
struct Memory(UnsafeCell<[u8; SIZE]>);

struct Heap(UnsafeCell<State>);

struct State {
    used: usize,
    /// For each power of two, the first block that was freed. It begins with the address of the next.
    free: [*mut u8; 32],
}

// SAFETY: the guest has one processor, and no handlers of interrupts.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

/// Returns the number of bytes that have been in use at most.
pub fn used() -> usize {
    // SAFETY: nothing else runs.
    unsafe { (*HEAP.0.get()).used }
}

/// Returns the power of two of a block's size. A block is aligned to its size, up to a page.
fn class(layout: Layout) -> usize {
    layout.size().max(layout.align()).max(16).next_power_of_two().trailing_zeros() as usize
}

// SAFETY: a block is part of `MEMORY` and is handed out again only after it was freed.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let class = class(layout);
        // SAFETY: nothing else runs. A block in a list begins with the address of the next one.
        unsafe {
            let state = &mut *self.0.get();
            let block = state.free[class];
            if !block.is_null() {
                state.free[class] = block.cast::<*mut u8>().read();
                return block;
            }
            let size = 1 << class;
            let at = state.used.next_multiple_of(size.min(4096));
            if at + size > SIZE || layout.align() > 4096 {
                return null_mut();
            }
            state.used = at + size;
            MEMORY.0.get().cast::<u8>().add(at)
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let class = class(layout);
        // SAFETY: nothing else runs, and the block belongs to this list.
        unsafe {
            let state = &mut *self.0.get();
            block.cast::<*mut u8>().write(state.free[class]);
            state.free[class] = block;
        }
    }
}
