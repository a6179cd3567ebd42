//! What is asked of every input beside the laws of its target: memory in proportion to it.
//!
//! All that is allocated while an input is read, and by the laws that are tried on it, is added up. The laws alone read
//! and print it some ten times; what grows with the square of the input exceeds any such bound soon.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all of it is the system's allocator; this only adds up what is asked of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }
}

/// Tries the laws of a target on an input.
pub fn holds(laws: impl FnOnce(&[u8]), bytes: &[u8], per_byte: usize) {
    let before = ALLOCATED.load(Relaxed);
    laws(bytes);
    let allocated = ALLOCATED.load(Relaxed) - before;
    let bound = 256 * 1024 + per_byte * bytes.len();
    assert!(allocated <= bound, "{allocated} bytes were allocated for {}", bytes.len());
}
