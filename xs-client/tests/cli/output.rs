//! Each command without a reader of its output, and with output that cannot be written.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::host::{Host, command_names, stderr};

/// The number of the signal on all systems.
const SIGPIPE: i32 = 13;

/// The nodes that the command lines use. The guest may not read `/local/domain/5/closed`.
const SEED: &str = "/a [n0 r5] = 1\n/local/domain/5/closed [n0] = 2\n";

/// Command lines that print to standard output. `{dir}` is an empty directory.
const PRINTING: &[Line] = &[
    line("xs", "read /a"),
    line("xs", "read -R /a"),
    line("xs", "read /a /a"),
    line("xs", "list /"),
    line("xs", "ls"),
    line("xs", "ls -fp /"),
    line("xs", "ls --json /"),
    line("xs", "get-perms /a"),
    line("xs", "read --json /a"),
    line("xs", "list --json /"),
    line("xs", "get-perms --json /a"),
    line("xs", "find / -n a"),
    line("xs", "diff /a /no-such-node"),
    line("xs", "edit /a"),
    line("xs", "watch -n 1 /a"),
    line("xs", "watch /a"),
    line("xs", "watch --json --values /a"),
    line("xs", "control help"),
    line("xs", "dump /"),
    line("xs", "transaction").with_input("write /t 1\nread /t\n"),
    #[cfg(feature = "shell")]
    line("xs", "shell").with_input("pwd\n"),
    line("xs", "serve --socket {dir}/socket"),
    line("xs", "domain list"),
    line("xs", "domain path 5"),
    line("xs", "quota"),
    line("xs", "features"),
    line("xs", "info --json"),
    line("xs", "proxy --listen {dir}/socket"),
    line("xs", "ping"),
    line("xs", "ping -n 1000000000"),
    line("xs", "info"),
    line("xs", "--socket /nowhere info"),
    line("xs", "install-links {dir}"),
    line("xs", "completions bash"),
    line("xs", "man"),
    line("xs", "help"),
    line("xs", "help read"),
    line("xs", "read --help"),
    line("xs", "--help"),
    line("xs", "--version"),
    line("xenstore-read", "/a"),
    line("xenstore-read", "-R /a"),
    line("xenstore-list", "/"),
    line("xenstore-ls", "/"),
    line("xenstore-ls", "-fp /"),
    line("xenstore-watch", "-n 1 /a"),
    line("xenstore-control", "help"),
    line("xenstore", "read /a"),
    line("xenstore", "list /"),
    line("xenstore", "ls /"),
    line("xenstore", "watch -n 1 /a"),
];

/// Command lines that succeed and print nothing.
const SILENT: &[Line] = &[
    line("xs", "write /w 1"),
    line("xs", "exists /a"),
    line("xs", "rm /no-such-node"),
    line("xs", "cp -f /a /b"),
    line("xs", "diff /a /a"),
    line("xs", "mkdir /m"),
    line("xs", "chmod /a n0 r5"),
    line("xs", "wait /a"),
    line("xs", "transaction").with_input("write /t 1\n"),
    line("xs", "restore").with_input("/r [n0] = \"1\"\n"),
    line("xenstore-write", "/w 1"),
    line("xenstore-exists", "/a"),
    line("xenstore-rm", "/no-such-node"),
    line("xenstore-chmod", "/a n0 r5"),
    line("xenstore", "write /w 1"),
    line("xenstore", "exists /a"),
    line("xenstore", "rm /no-such-node"),
    line("xenstore", "chmod /a n0 r5"),
];

/// Command lines that print an error or a warning, on standard error.
const FAILING: &[Line] = &[
    line("xs", ""),
    line("xs", "fly"),
    line("xs", "read"),
    line("xs", "read /no"),
    line("xs", "--socket /nowhere write /a 1"),
    line("xs", "--socket /nowhere exists /a"),
    line("xs", "list /no"),
    line("xs", "ls /no"),
    line("xs", "--socket {guest} ls /local/domain/5"),
    line("xs", "rm /"),
    line("xs", "find /no"),
    line("xs", "cp /no /b"),
    line("xs", "mv /no /b"),
    line("xs", "diff /a"),
    line("xs", "diff -f /no /a"),
    line("xs", "edit /no"),
    line("xs", "mkdir //"),
    line("xs", "chmod /no n0"),
    line("xs", "get-perms /no"),
    line("xs", "watch //"),
    line("xs", "wait -T 0 /no"),
    line("xs", "control fly"),
    line("xs", "dump /no"),
    line("xs", "--socket {guest} dump /local/domain/5"),
    line("xs", "restore /no"),
    line("xs", "transaction").with_input("read /no\n"),
    line("xs", "domain fly"),
    line("xs", "domain release 4000"),
    line("xs", "quota no-such-quota"),
    line("xs", "--socket {guest} quota set nodes 1"),
    line("xs", "--socket /nowhere features"),
    #[cfg(feature = "shell")]
    line("xs", "shell").with_input("read /no\n"),
    #[cfg(feature = "top")]
    line("xs", "top"),
    line("xs", "proxy --listen /nowhere/at/all"),
    line("xs", "serve"),
    line("xs", "--socket /nowhere ping"),
    line("xs", "--socket /nowhere info"),
    line("xs", "install-links /no"),
    line("xs", "completions fly"),
    line("xs", "man fly"),
    line("xenstore-read", "-x /no"),
    line("xenstore-write", "/w"),
    line("xenstore-exists", "-p /a"),
    line("xenstore-list", "/no"),
    line("xenstore-ls", "/no"),
    line("xenstore-rm", "/"),
    line("xenstore-chmod", "/no n0"),
    line("xenstore-watch", "/a /a"),
    line("xenstore-control", ""),
    line("xenstore-control", "fly"),
    line("xenstore-control", "live-update"),
    line("xenstore", ""),
    line("xenstore", "fly"),
    line("xenstore", "read /no"),
];

/// A command line, with the name that the program is invoked by.
#[derive(Clone, Copy)]
struct Line {
    tool: &'static str,
    args: &'static str,
    input: &'static str,
}

const fn line(tool: &'static str, args: &'static str) -> Line {
    Line { tool, args, input: "" }
}

impl Line {
    const fn with_input(self, input: &'static str) -> Self {
        Line { input, ..self }
    }

    fn args(self, host: &Tools) -> Vec<String> {
        let args = self.args.split(' ').filter(|arg| !arg.is_empty());
        let dir = host.empty_dir.to_str().expect("path is UTF-8");
        args.map(|arg| arg.replace("{dir}", dir).replace("{guest}", &host.host.guest())).collect()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tool, self.args)
    }
}

#[test]
fn commands_die_of_sigpipe_without_a_reader() {
    let tools = Tools::new();
    for line in PRINTING {
        let (status, error) = tools.run(*line, Sink::Closed, Sigpipe::Default);
        assert_eq!(status.signal(), Some(SIGPIPE), "{line}: {status}: {error}");
        if !line.args.contains("/nowhere") {
            assert_eq!(error, "", "{line}");
        }
    }
    assert!(!tools.empty_dir.join("socket").exists());
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let tools = Tools::new();
    for line in PRINTING {
        for (sink, cause) in
            [(Sink::FullDevice, "No space left"), (Sink::FullPipe, "temporarily unavailable")]
        {
            let (status, error) = tools.run(*line, sink, Sigpipe::Default);
            assert_eq!(status.code(), Some(1), "{line} > {sink:?}: {error}");
            let start = format!("{}: ", line.tool);
            assert!(error.starts_with(&start), "{line} > {sink:?}: {error}");
            if !line.args.contains("/nowhere") {
                assert!(error.contains("cannot write to standard output: "), "{line}: {error}");
                assert!(error.contains(cause), "{line} > {sink:?}: {error}");
                assert_eq!(error.lines().count(), 1, "{line}: {error}");
            }
        }
    }
    assert!(!tools.empty_dir.join("socket").exists());
}

#[test]
fn commands_without_output_need_no_reader() {
    let tools = Tools::new();
    for line in SILENT {
        for sink in [Sink::Closed, Sink::FullDevice, Sink::FullPipe] {
            let (status, error) = tools.run(*line, sink, Sigpipe::Default);
            assert!(status.success() && error.is_empty(), "{line} > {sink:?}: {status}: {error}");
        }
    }
}

#[test]
fn lost_output_does_not_hide_changes() {
    let tools = Tools::new();
    for (line, done) in [
        (line("xs", "transaction").with_input("write /t 1\nread /t\n"), "transaction committed"),
        (line("xs", "control help"), "command executed"),
        (line("xs", "install-links {dir}"), "links created"),
        (line("xenstore-control", "help"), "command executed"),
    ] {
        for (sink, sigpipe) in [
            (Sink::FullDevice, Sigpipe::Default),
            (Sink::FullPipe, Sigpipe::Default),
            (Sink::Closed, Sigpipe::Ignored),
        ] {
            // The xenstore tools ignore a closed reader.
            if line.tool != "xs" && matches!(sink, Sink::Closed) {
                continue;
            }
            let (status, error) = tools.run(line, sink, sigpipe);
            assert_eq!(status.code(), Some(1), "{line}: {error}");
            let start = format!("{}: {done}, but cannot write to standard output: ", line.tool);
            assert!(error.starts_with(&start), "{line}: {error}");
        }
    }
    assert_eq!(tools.host.ok("read /t"), "1\n");
    assert_eq!(fs::read_dir(&tools.empty_dir).unwrap().count(), 10);
}

#[test]
fn lost_messages_keep_the_exit_status() {
    let tools = Tools::new();
    for line in FAILING {
        let output = tools.command(*line, Sigpipe::Default).output().unwrap();
        let wanted = output.status;
        assert!(!output.stderr.is_empty() && !wanted.success(), "{line}: {wanted}");
        for sink in [Sink::FullDevice, Sink::FullPipe] {
            let status = tools.run_without_stderr(*line, sink, Sigpipe::Default);
            assert_eq!(status, wanted, "{line} 2> {sink:?}");
        }
        let status = tools.run_without_stderr(*line, Sink::Closed, Sigpipe::Ignored);
        assert_eq!(status, wanted, "{line}");
        let status = tools.run_without_stderr(*line, Sink::Closed, Sigpipe::Default);
        assert_eq!(status.signal(), Some(SIGPIPE), "{line}: {status}");
    }
}

#[test]
fn closed_reader_is_an_error_if_sigpipe_is_ignored() {
    let tools = Tools::new();
    for line in PRINTING.iter().filter(|line| line.tool == "xs") {
        let (status, error) = tools.run(*line, Sink::Closed, Sigpipe::Ignored);
        assert_eq!(status.code(), Some(1), "{line}: {error}");
        if !line.args.contains("/nowhere") {
            assert!(error.contains("cannot write to standard output: Broken pipe"), "{error}");
            assert_eq!(error.lines().count(), 1, "{line}: {error}");
        }
    }
}

#[test]
fn xenstore_tools_ignore_a_closed_reader_if_sigpipe_is_ignored() {
    let tools = Tools::new();
    let lines = PRINTING.iter().filter(|line| line.tool != "xs");
    for line in lines.chain(&[line("xenstore-watch", "/a")]) {
        let (status, error) = tools.run(*line, Sink::Closed, Sigpipe::Ignored);
        assert!(status.success() && error.is_empty(), "{line}: {status}: {error}");
    }
}

/// Compares with the xenstore tools of the system, as far as they are installed.
#[test]
fn status_without_a_reader_matches_the_original_tools() {
    let tools = Tools::new();
    // Both streams matter if a command prints output before it fails.
    let more = [line("xenstore-read", "/a /no"), line("xenstore-read", "/no")];
    let lines = PRINTING.iter().chain(SILENT).chain(FAILING).chain(&more);
    let mut compared = 0;
    for line in lines.filter(|line| line.tool != "xs" && line.tool != "xenstore-control") {
        let Some(original) = find_in_path(line.tool) else { continue };
        for sigpipe in [Sigpipe::Default, Sigpipe::Ignored] {
            let run = |program: &Path| {
                let mut command = tools.command_of(program, *line, sigpipe);
                let out = command.stdout(Sink::Closed.open()).stderr(Stdio::null()).status();
                command.stdout(Stdio::null()).stderr(Sink::Closed.open());
                (out.unwrap(), command.status().unwrap())
            };
            assert_eq!(run(&tools.program(line.tool)), run(&original), "{line}, {sigpipe:?}");
        }
        compared += 1;
    }
    if compared == 0 {
        // The test harness does not capture this.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no xenstore tools found in PATH");
    }
}

#[test]
fn each_command_and_each_tool_is_tested() {
    let tools = Tools::new();
    let help = tools.host.ok("--help");
    let mut names: Vec<_> = command_names(&help).into_iter().map(|name| ("xs", name)).collect();
    assert!(names.len() > 15, "{help}");
    let usage = tools.command(line("xenstore", "fly"), Sigpipe::Default).output().unwrap();
    let usage = stderr(&usage);
    let modes = usage.trim_end().split_once("expected one of ").unwrap().1.split(", ");
    names.extend(modes.map(|mode| ("xenstore", mode.to_owned())));
    let has = |lines: &[Line], tool: &str, name: &str| {
        lines.iter().any(|line| line.tool == tool && line.args.split(' ').any(|arg| arg == name))
    };
    for (tool, name) in names {
        // A node can be moved once only, and these lines run several times. The view needs a terminal.
        let is_covered = has(PRINTING, tool, &name)
            || has(SILENT, tool, &name)
            || ["mv", "top"].contains(&name.as_str());
        assert!(is_covered, "{tool} {name}");
        assert!(tool != "xs" || has(FAILING, tool, &name), "{tool} {name}");
    }
    for link in fs::read_dir(&tools.bin).unwrap() {
        let name = link.unwrap().file_name();
        let covers = |lines: &[Line]| lines.iter().any(|line| name == line.tool);
        assert!((covers(PRINTING) || covers(SILENT)) && covers(FAILING), "{name:?}");
    }
}

/// A stream whose writes fail.
#[derive(Clone, Copy, Debug)]
enum Sink {
    /// A pipe whose reader has closed it.
    Closed,
    /// `/dev/full`.
    FullDevice,
    /// A non-blocking pipe that is full.
    FullPipe,
}

impl Sink {
    fn open(self) -> Stdio {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a descriptor is free");
        match self {
            Sink::Closed => drop(reader),
            Sink::FullDevice => {
                let device = File::options().write(true).open("/dev/full");
                return device.expect("the system has this device").into();
            }
            Sink::FullPipe => {
                fill(&writer);
                // The reader stays open until the process of the tests ends.
                std::mem::forget(reader);
            }
        }
        writer.into()
    }
}

/// Makes a pipe non-blocking, and fills it.
fn fill(writer: &OwnedFd) {
    rustix::io::ioctl_fionbio(writer, true).expect("a pipe can be non-blocking");
    let mut writer = File::from(writer.try_clone().expect("a descriptor is free"));
    // Single bytes fill the rest that is too small for larger writes.
    for size in [4096, 1] {
        while writer.write(&vec![b'x'; size]).is_ok() {}
    }
    assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// The disposition of SIGPIPE that a program inherits.
#[derive(Clone, Copy, Debug)]
enum Sigpipe {
    Default,
    /// As in a service of systemd.
    Ignored,
}

/// A daemon, and the program by all its names.
struct Tools {
    host: Host,
    bin: PathBuf,
    empty_dir: PathBuf,
}

impl Tools {
    fn new() -> Self {
        let host = Host::new(SEED);
        let [bin, empty_dir] = ["bin", "empty"].map(|name| host.dir.join(name));
        for dir in [&bin, &empty_dir] {
            fs::create_dir(dir).expect("the temporary directory is writable");
        }
        host.ok(&format!("install-links {}", bin.display()));
        Tools { host, bin, empty_dir }
    }

    fn program(&self, tool: &str) -> PathBuf {
        match tool {
            "xs" => env!("CARGO_BIN_EXE_xs").into(),
            tool => self.bin.join(tool),
        }
    }

    fn command(&self, line: Line, sigpipe: Sigpipe) -> Command {
        self.command_of(&self.program(line.tool), line, sigpipe)
    }

    fn command_of(&self, program: &Path, line: Line, sigpipe: Sigpipe) -> Command {
        let mut command = match sigpipe {
            // The standard library gives children the default disposition.
            Sigpipe::Default => Command::new(program),
            Sigpipe::Ignored => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "trap '' PIPE; exec \"$0\" \"$@\""]).arg(program);
                shell
            }
        };
        let input = self.host.dir.join("input");
        fs::write(&input, line.input).expect("the temporary directory is writable");
        command
            .args(line.args(self))
            .env("XENSTORED_PATH", self.host.socket())
            .env_remove("XENSTORED_RUNDIR")
            .env_remove("VISUAL")
            .env("EDITOR", "true")
            .stdin(File::open(&input).expect("the file has just been written"));
        command
    }

    /// Runs a command with `sink` as standard output. Returns what it prints on standard error.
    fn run(&self, line: Line, sink: Sink, sigpipe: Sigpipe) -> (ExitStatus, String) {
        let mut command = self.command(line, sigpipe);
        let child = command.stdout(sink.open()).stderr(Stdio::piped()).spawn().expect("xs starts");
        drop(command);
        let output = child.wait_with_output().expect("xs exits");
        (output.status, stderr(&output))
    }

    fn run_without_stderr(&self, line: Line, sink: Sink, sigpipe: Sigpipe) -> ExitStatus {
        let mut command = self.command(line, sigpipe);
        command.stdout(Stdio::null()).stderr(sink.open()).status().expect("xs exits")
    }
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
