//! The engine's hot paths in instructions: figures that no noise touches, for a thousand
//! operations each, on a thousand objects.
//!
//! Needs valgrind, and gungraun's runner in the version that Cargo.lock names:
//! `cargo install gungraun-runner --version …`. Says so, and measures nothing, where one is missing.

use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    // The runner starts this very program again under valgrind, with arguments of its own.
    let inside = std::env::args()
        .nth(1)
        .is_some_and(|arg| arg == "--gungraun-run");
    if !inside {
        let runner = option_env!("GUNGRAUN_RUNNER").unwrap_or("gungraun-runner");
        for tool in ["valgrind", runner] {
            if !is_installed(tool) {
                println!("skipped: instructions are not counted, since {tool} is not installed");
                return ExitCode::SUCCESS;
            }
        }
    }
    counted::run();
    ExitCode::SUCCESS
}

fn is_installed(tool: &str) -> bool {
    let mut command = Command::new(tool);
    let command = command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().and_then(|mut child| child.wait()).is_ok()
}

/// The macros' own main function is in here.
mod counted {
    use std::hint::black_box;
    use std::sync::Arc;

    use gungraun::prelude::*;
    use reflet_bench::engine::Engine;
    use reflet_bench::key;
    use reflet_bench::readable::Readable;
    use reflet_core::VersionRef;
    use reflet_core::cache::SubscriberId;

    const STEPS: usize = 1_000;

    pub(super) fn run() {
        main();
    }

    struct Rig {
        engine: Engine<Arc<u64>>,
        subscriber: SubscriberId,
        keys: Vec<String>,
        value: Arc<u64>,
    }

    /// A thousand objects that one subscriber has read; and, to get over what the first time
    /// costs, updated once.
    fn rig() -> Rig {
        let keys: Vec<String> = (0..STEPS).map(key).collect();
        let value = Arc::new(0);
        let items = keys.iter().map(|key| (key.as_str(), Arc::clone(&value)));
        let mut engine = Engine::synced(items);
        let subscriber = engine.informer.subscribe(None);
        engine.drain(subscriber);
        Rig {
            engine,
            subscriber,
            keys,
            value,
        }
    }

    fn updated() -> Rig {
        let mut rig = rig();
        for key in &rig.keys {
            rig.engine.update(key, Arc::clone(&rig.value));
        }
        rig
    }

    fn relisting() -> Rig {
        let mut rig = rig();
        rig.engine.begin_relist();
        rig
    }

    #[library_benchmark]
    #[bench::thousand(args = (), setup = rig)]
    fn first_sync(rig: Rig) -> (Rig, Engine<Arc<u64>>) {
        let items = rig
            .keys
            .iter()
            .map(|key| (key.as_str(), Arc::clone(&rig.value)));
        let engine = black_box(Engine::synced(items));
        (rig, engine)
    }

    #[library_benchmark]
    #[bench::thousand(args = (), setup = updated)]
    fn update(mut rig: Rig) -> Rig {
        for key in &rig.keys {
            rig.engine.update(key, Arc::clone(&rig.value));
        }
        rig
    }

    #[library_benchmark]
    #[bench::thousand(args = (), setup = relisting)]
    fn relist_item(mut rig: Rig) -> Rig {
        for (key, version) in rig.keys.iter().zip(1..) {
            black_box(rig.engine.relist_item(key, VersionRef::from(version), None));
        }
        rig
    }

    #[library_benchmark]
    #[bench::thousand(args = (), setup = updated)]
    fn poll_delta(mut rig: Rig) -> Rig {
        black_box(rig.engine.poll(rig.subscriber));
        rig
    }

    #[library_benchmark]
    #[bench::thousand(args = (), setup = updated)]
    fn drain_deltas(mut rig: Rig) -> Rig {
        black_box(rig.engine.drain(rig.subscriber));
        rig
    }

    #[library_benchmark]
    #[bench::thousand(args = (), setup = rig)]
    fn get(rig: Rig) -> Rig {
        for key in &rig.keys {
            black_box(rig.engine.informer.cache().get(key.as_str()));
        }
        rig
    }

    library_benchmark_group!(
        name = engine,
        benchmarks = [
            first_sync,
            update,
            relist_item,
            poll_delta,
            drain_deltas,
            get
        ]
    );

    struct Read {
        readable: Readable<Arc<u64>>,
        keys: Vec<String>,
        value: Arc<u64>,
    }

    /// A thousand objects that have readers, updated once.
    fn read() -> Read {
        let keys: Vec<String> = (0..STEPS).map(key).collect();
        let value = Arc::new(0);
        let items = keys.iter().map(|key| (key.as_str(), Arc::clone(&value)));
        let readable = Readable::synced(items);
        let read = Read {
            readable,
            keys,
            value,
        };
        update_with_readers(read)
    }

    // In batches of 250.
    #[library_benchmark]
    #[bench::thousand(args = (), setup = read)]
    fn update_read(read: Read) -> Read {
        update_with_readers(read)
    }

    fn update_with_readers(mut read: Read) -> Read {
        for keys in read.keys.chunks(250) {
            for key in keys {
                read.readable.engine.update(key, Arc::clone(&read.value));
            }
            read.readable.publish();
        }
        read
    }

    #[library_benchmark]
    #[bench::thousand(args = (), setup = read)]
    fn load(read: Read) -> Read {
        for key in &read.keys {
            black_box(read.readable.reader.load(key));
        }
        read
    }

    #[library_benchmark]
    #[bench::thousand(args = (), setup = read)]
    fn load_from_view(read: Read) -> Read {
        let view = read.readable.reader.view();
        for key in &read.keys {
            black_box(view.get(key));
        }
        drop(view);
        read
    }

    library_benchmark_group!(
        name = readers,
        benchmarks = [update_read, load, load_from_view]
    );
    main!(library_benchmark_groups = [engine, readers]);
}
