//! See `reflet_fuzz::serve`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| reflet_fuzz::serve(data));

#[cfg(not(fuzzing))]
fn main() {}
