//! The trace that an input of the target `engine` stands for, for the simulator's command line, which
//! shrinks and shows it: `cargo run -p reflet-fuzz --example trace -- INPUT OUTPUT.trace`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        eprintln!("the input and the trace to write, please");
        return ExitCode::from(2);
    };
    let written = std::fs::read(input).and_then(|data| match reflet_fuzz::engine_trace(&data) {
        Some(trace) => std::fs::write(output, trace),
        None => Err(std::io::Error::other("too short for a trace")),
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
