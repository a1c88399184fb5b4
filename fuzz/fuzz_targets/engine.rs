//! See `reflet_fuzz::engine`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| reflet_fuzz::engine(data));

#[cfg(not(fuzzing))]
fn main() {}
