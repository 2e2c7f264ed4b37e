//! A counter of work that is the same on every machine: how many branches the code took. The compiler calls it at each, when it is
//! told to (`npm test -- bound`); so it sees loops of the standard library too, and what takes long without allocating.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicPtr, Ordering};

/// Not an atomic: its methods would be counted themselves, and call this again. The tests that read it run on one thread.
static mut TAKEN: u64 = 0;
/// So that the counter is not optimised away.
static PLACE: AtomicPtr<u64> = AtomicPtr::new(&raw mut TAKEN);

/// EndpointPath by the compiled code at each edge between blocks.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_pc_guard(_: *mut u32) {
    // SAFETY: one thread counts.
    unsafe { TAKEN += 1 }
}

/// EndpointPath once for each object file.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_pc_guard_init(_: *mut u32, _: *mut u32) {}

/// How many edges were taken so far.
pub fn taken() -> u64 {
    // SAFETY: it points to the static above, which one thread writes.
    unsafe { PLACE.load(Ordering::Relaxed).read_volatile() }
}
