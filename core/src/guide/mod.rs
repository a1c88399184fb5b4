//! A guide to this crate, to be read in this order. There is no code here.
//!
//! 1. [`concepts`]: the few words and pictures that everything else is made of.
//! 2. [`life_of_an_event`]: from the bytes of a source to a subscriber's handler.
//! 3. [`writing_a_driver`]: the loop around the engine, in sixty lines.
//! 4. [`writing_a_source`]: what to tell the engine of a system that it has never heard of.
//! 5. [`promises`]: what you may rely on, and how each of it is checked.

#[doc = include_str!("concepts.md")]
pub mod concepts {}

#[doc = include_str!("life_of_an_event.md")]
pub mod life_of_an_event {}

#[doc = include_str!("promises.md")]
pub mod promises {}

#[doc = include_str!("writing_a_driver.md")]
pub mod writing_a_driver {}

#[doc = include_str!("writing_a_source.md")]
pub mod writing_a_source {}
