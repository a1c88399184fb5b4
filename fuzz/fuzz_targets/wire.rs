//! See `reflet_fuzz::wire`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| reflet_fuzz::wire(data));

#[cfg(not(fuzzing))]
fn main() {}
