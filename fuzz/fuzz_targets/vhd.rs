//! An input as a Vhd image. See `drill_fuzz::harness`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| drill_fuzz::harness::run(engine::container::Format::Vhd, input));
