//! The engine on a device without std: a loop, interrupts, and a pool of memory.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::server::Server;

fn run(program: impl AsRef<OsStr>, arguments: &[&OsStr]) {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        // What is asked of std's programs, such as a sanitizer, may need std.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {complaint}");
}

/// Builds the device as a C program around the library without std.
fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/no_std");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_std");
    let manifest = source.join("Cargo.toml");
    let build = [
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--manifest-path",
    ]
    .map(OsStr::new);
    let paths = [
        manifest.as_os_str(),
        "--target-dir".as_ref(),
        target.as_os_str(),
    ];
    run(env!("CARGO"), &[build.as_slice(), &paths].concat());
    let (main, device) = (source.join("uart.c"), target.join("device"));
    let library = target.join("release/libreflet_no_std.a");
    let compile = [
        "-O1".as_ref(),
        "-Wall".as_ref(),
        "-Wextra".as_ref(),
        "-Werror".as_ref(),
        main.as_os_str(),
        library.as_os_str(),
        "-o".as_ref(),
        device.as_os_str(),
    ];
    run(env::var_os("CC").unwrap_or("cc".into()), &compile);
    device
}

/// The device while it runs.
struct Device {
    process: Child,
    log: BufReader<ChildStdout>,
}

impl Device {
    fn start(server: &Server) -> Self {
        let mut process = Command::new(build())
            .arg(server.address.port().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stdout.take().unwrap());
        Self { process, log }
    }

    /// The next line of its log, however long that takes.
    fn says(&mut self) -> String {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_device_follows_within_its_pool_and_says_when_it_is_full() {
    let mut server = Server::start(&["routes"]);
    server.put(0, "a", "one");
    let mut device = Device::start(&server);
    assert_eq!(device.says(), "+a=\"one\"");
    server.put(0, "a", "two");
    assert_eq!(device.says(), "~a=\"two\"");
    server.down();
    server.put(0, "b", "three");
    server.up();
    assert_eq!(device.says(), "+b=\"three\"");

    // One more than it may hold: nothing of what it has is touched any more.
    for number in 0..99 {
        server.put(0, &format!("more-{number:02}"), "x");
    }
    let mut said = device.says();
    let mut added = 2;
    while said.starts_with("+more-") {
        added += 1;
        said = device.says();
    }
    assert_eq!(said, "full: Objects");
    assert!(added <= 100, "{added} objects");
    server.delete(0, "a");
    server.delete(0, "b");
    let mut rest = Vec::new();
    loop {
        let said = device.says();
        if said == "fits again" {
            break;
        }
        rest.push(said);
    }
    // It goes on where the source is.
    server.put(0, "more-98", "y");
    while !rest.contains(&"~more-98=\"y\"".to_owned()) {
        rest.push(device.says());
    }
    for gone in ["-a", "-b"] {
        assert!(rest.contains(&gone.to_owned()), "{rest:?}");
    }
}
