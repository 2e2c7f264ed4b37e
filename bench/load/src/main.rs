//! The two ends of the benchmark, in Rust because a Node process at either end would be the bottleneck:
//! `upstream` is the fake provider, `run` the load. Each prints one line of JSON; `bench/lib/load.mjs` reads it.
//! Two processes, each on one thread, so that neither end's work delays the other's clock readings.

mod load;
mod upstream;

use std::time::{SystemTime, UNIX_EPOCH};

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    match command.as_str() {
        "upstream" => local.block_on(&runtime, upstream::serve()),
        "run" => {
            let options = load::Options::parse(args)?;
            println!("{}", local.block_on(&runtime, load::run(options))?);
            Ok(())
        }
        _ => Err("usage: bench-load upstream | bench-load run --url URL [--body JSON] [--header 'name: value'] ...".into()),
    }
}

/// Microseconds on the wall clock: the one clock that both processes share.
fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as u64)
}
