//! Compares `xs` with the xenstore tools of Xen 4.17 (Debian 12) and 4.20 (Debian 13), on the same
//! genuine daemon.
//!
//! Each command line of a [table](table) runs once with the tools and once with `xs`. Standard
//! output, the exit status and the resulting nodes must be equal. [Exceptions](table::DIFFERENCES)
//! are listed with a reason, and must differ.
//!
//! | variable | meaning |
//! |---|---|
//! | `XS_TEST_C_SOCKET`, `XS_TEST_OX_SOCKET` | sockets of a C xenstored and of an oxenstored, as dom0; without one, the test of that daemon is skipped |
//! | `XS_TEST_C_GUEST5`, `XS_TEST_OX_GUEST5` | sockets of the same daemons, as domain 5; without one, the lines for guests are skipped |
//! | `XS_TEST_TOOLS` | directory of the original tools; by default, the first in `PATH` |
//! | `XS_TEST_XENSTORE_CONTROL` | path of the original xenstore-control, which has a package of its own; without it, its lines are skipped |

mod table;

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xs_client::Client;

#[test]
fn output_matches_on_c_xenstored() {
    compare_on("C");
}

#[test]
fn output_matches_on_oxenstored() {
    compare_on("OX");
}

fn compare_on(kind: &str) {
    let Ok(socket) = env::var(format!("XS_TEST_{kind}_SOCKET")) else {
        print(&format!("SKIPPED: XS_TEST_{kind}_SOCKET is not set"));
        return;
    };
    let directory = env::var_os("XS_TEST_TOOLS").map(PathBuf::from);
    let Some(originals) = directory.or_else(|| directory_of("xenstore-ls")) else {
        print("SKIPPED: no xenstore tools found in PATH");
        return;
    };
    let fixture = Fixture::new(kind, &socket, &originals);
    let mut equal = 0;
    let mut skipped = 0;
    let mut failures = Vec::new();
    for line in table::LINES {
        if !fixture.can_run(line) {
            print(&format!("skipped: {line}"));
            skipped += 1;
            continue;
        }
        let [theirs, ours] = fixture.run_both(line);
        let difference = table::difference(line, fixture.is_c);
        match (theirs == ours, difference) {
            (true, None) => equal += 1,
            (false, Some(reason)) => print(&format!("differs: {line} ({reason})")),
            (true, Some(_)) => failures.push(format!("{line}\n  listed as different, but equal")),
            (false, None) => failures.push(format!("{line}\n{}", theirs.difference(&ours))),
        }
    }
    let all = table::LINES.len();
    print(&format!("{kind}: {equal} of {all} lines are equal, {skipped} were skipped"));
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn table_is_large_and_lines_are_unique() {
    assert!(table::LINES.len() >= 150, "{}", table::LINES.len());
    for (at, line) in table::LINES.iter().enumerate() {
        assert!(!table::LINES[..at].contains(line), "{line}");
    }
    for line in table::differing() {
        assert!(table::LINES.contains(&line), "{line}");
    }
}

/// A daemon, and both sets of tools.
struct Fixture {
    client: Client,
    is_c: bool,
    socket: String,
    guest: Option<String>,
    control: Option<PathBuf>,
    /// The directory of the original tools.
    originals: PathBuf,
    /// A directory with links to `xs`.
    ours: TempDir,
}

/// The result of a line.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: Option<i32>,
    stdout: String,
    /// The nodes below [`table::TREE`] afterwards.
    nodes: Vec<String>,
}

impl Outcome {
    fn difference(&self, ours: &Outcome) -> String {
        let lines = |outcome: &Outcome| {
            let stdout = outcome.stdout.lines().map(str::to_owned);
            let status = format!("status {:?}", outcome.status);
            let all = std::iter::once(status).chain(stdout).chain(outcome.nodes.clone());
            all.collect::<Vec<_>>()
        };
        let (theirs, ours) = (lines(self), lines(ours));
        let at = theirs.iter().zip(&ours).take_while(|(theirs, ours)| theirs == ours).count();
        format!("  theirs: {:?}\n  ours:   {:?}", theirs.get(at), ours.get(at))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // The daemon serves tests only: nodes that remain do no harm.
        let _ = self.client.rm("/xs-cli");
    }
}

impl Fixture {
    fn new(kind: &str, socket: &str, originals: &Path) -> Self {
        let client = Client::open_at(socket).expect("the daemon answers");
        table::set_up_once(&client).expect("dom0 may write everywhere");
        let ours = TempDir::new(kind);
        let done =
            Command::new(env!("CARGO_BIN_EXE_xs")).arg("install-links").arg(&ours.0).output();
        assert!(done.expect("xs runs").status.success());
        Fixture {
            client,
            is_c: kind == "C",
            socket: socket.to_owned(),
            guest: env::var(format!("XS_TEST_{kind}_GUEST5")).ok(),
            control: env::var_os("XS_TEST_XENSTORE_CONTROL").map(PathBuf::from),
            originals: originals.to_owned(),
            ours,
        }
    }

    fn can_run(&self, line: &str) -> bool {
        (self.is_c || !table::C_ONLY.contains(&line))
            && (self.guest.is_some() || !line.contains("as_guest"))
            && (self.control.is_some() || !line.contains("xenstore-control"))
    }

    /// Returns the results of the original tools and of `xs`.
    fn run_both(&self, line: &str) -> [Outcome; 2] {
        // Debian has a script of that name among the tools, so the original comes first.
        let control = self.control.as_deref().and_then(Path::parent);
        let theirs = [control, Some(&*self.originals)];
        [self.run(line, &theirs), self.run(line, &[Some(&*self.ours.0)])]
    }

    fn run(&self, line: &str, tools: &[Option<&Path>]) -> Outcome {
        table::set_up(&self.client).expect("dom0 may write everywhere");
        let system = env::var_os("PATH").unwrap_or_default();
        let system = env::split_paths(&system);
        let path = tools.iter().flatten().map(|dir| dir.to_path_buf()).chain(system);
        let script = format!("as_guest() {{ XENSTORED_PATH=$GUEST \"$@\"; }}\n{line}");
        let output = Command::new("bash")
            .args(["-c", &script])
            .env("PATH", env::join_paths(path).expect("paths have no colons"))
            .env("XENSTORED_PATH", &self.socket)
            .env("GUEST", self.guest.as_deref().unwrap_or_default())
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .expect("bash runs");
        Outcome {
            status: output.status.code(),
            stdout: output.stdout.escape_ascii().to_string().replace("\\n", "\n"),
            nodes: self.nodes(),
        }
    }

    fn nodes(&self) -> Vec<String> {
        let walk = self.client.walk(table::TREE).with_values().with_perms();
        let show = |node: xs_client::Node| {
            let value = node.value.expect("walk reads values").expect("dom0 may read");
            let perms = node.perms.expect("walk reads permissions").expect("dom0 may read");
            format!("{} ({perms}) {}", node.path, value.escape_ascii())
        };
        walk.filter(|node| node.children.is_ok()).map(show).collect()
    }
}

/// Prints a line even if the test succeeds: the test harness does not capture it.
fn print(line: &str) {
    // A closed standard error is not a failure of the test.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Returns the directory in `PATH` that contains a program.
fn directory_of(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).find(|dir| dir.join(program).is_file())
}

struct TempDir(PathBuf);

impl TempDir {
    fn new(kind: &str) -> Self {
        let dir = env::temp_dir().join(format!("xs-links-{kind}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        TempDir(dir)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Files that remain in the temporary directory do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
