//! The comparison as a program.

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use reflet_bench::compare::{self, Plan};
use reflet_bench::memory::Counting;
use reflet_bench::report;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures Reflet beside kube-runtime and a bare hash map.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints one table of both sides' figures, their ratios, and whether the goals are met.
    Compare {
        /// Up to 100,000 objects instead of millions: within three minutes.
        #[arg(long)]
        quick: bool,
        /// Measures only what has this in its name: "update", "10000 objects", "many keys".
        #[arg(long, value_name = "NAME", default_value = "")]
        only: String,
        /// Writes the rows here too, as a JSON array.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Draws costs against sizes and against subscribers, as SVG files in this folder.
        #[arg(long, value_name = "DIR")]
        plots: Option<PathBuf>,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let Command::Compare {
        quick,
        only,
        json,
        plots,
    } = Arguments::parse().command;
    let plan = if quick { Plan::quick() } else { Plan::full() };
    let rows = compare::run(&plan, |name| {
        let wanted = name.contains(&only);
        if wanted {
            eprintln!("measuring {name}");
        }
        wanted
    });
    print!("{}", report::table(&rows));
    if let Some(file) = json {
        std::fs::write(file, report::json(&rows)?)?;
    }
    if let Some(folder) = plots {
        std::fs::create_dir_all(&folder)?;
        for (name, plot) in compare::plots::draw(&plan, |name| eprintln!("plotting {name}")) {
            std::fs::write(folder.join(name), plot.svg())?;
        }
    }
    Ok(())
}
