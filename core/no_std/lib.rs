#![no_std]
//! The proof that the engine runs without std: a library with an allocator and a panic handler of
//! its own, in which the engine lives through all that an informer can live through. Whatever brings
//! std along does not link (E0152: a second panic handler). `tests/no_std.rs` builds it, links it
//! into a C program, runs that, and says how large it is.
//!
//! `uart.rs` is an informer on a device that has nothing but interrupts, a clock and this pool.

extern crate alloc;

mod life;
mod uart;

use core::panic::PanicInfo;

/// All the memory that there is, in bytes.
const POOL: usize = 256 << 10;

#[global_allocator]
static ALLOCATOR: emballoc::Allocator<POOL> = emballoc::Allocator::new();

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Lives the life. 0: all went as it should; otherwise the number of the step that did not.
// A name for the linker is all that is unsafe here: nothing else has it.
#[unsafe(no_mangle)]
pub extern "C" fn reflet_no_std() -> u32 {
    match life::live() {
        Ok(()) => 0,
        Err(life::WentWrong(step)) => step,
    }
}
