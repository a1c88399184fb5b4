//! See `reflet_fuzz::exchange`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| reflet_fuzz::exchange(data));

#[cfg(not(fuzzing))]
fn main() {}
