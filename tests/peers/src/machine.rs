//! Describes the machine, and the versions of the contenders.

use std::fs;
use std::process::Command;

pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let models: Vec<_> = cpus.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown");
    let lines = [
        format!("{} × {model}, Linux {}", models.len(), read("/proc/sys/kernel/osrelease").trim()),
        first_line("rustc", &["-V"]),
        format!("libxenstore {}", first_line("dpkg-query", &["-Wf${Version}", "libxenstore4"])),
        format!("xenstore-rs {}", locked("xenstore-rs")),
        format!("krata-xenstore {}", locked("krata-xenstore")),
        format!("tokio {}", locked("tokio")),
        format!("pyxs {}", pyxs()),
    ];
    lines.join("; ")
}

fn pyxs() -> String {
    let python = std::env::var("XS_PEERS_PYTHON").unwrap_or("python3".into());
    let version = "import importlib.metadata as m; print(m.version('pyxs'))";
    first_line(&python, &["-c", version])
}

fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok().and_then(|text| text.lines().next().map(Into::into)).unwrap_or("unknown".into())
}

/// Returns the version of a linked crate.
fn locked(name: &str) -> &'static str {
    let lines = include_str!("../Cargo.lock").lines();
    let mut lines = lines.skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1));
    version.unwrap_or("unknown")
}
