//! See `reflet_fuzz::mapping`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| reflet_fuzz::mapping(data));

#[cfg(not(fuzzing))]
fn main() {}
