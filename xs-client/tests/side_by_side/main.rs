//! `xs` beside the xenstore tools of Debian 12, on the same genuine daemon: each line of a
//! [table](table) is run with either, and must give the same output and the same exit status, and
//! leave the same nodes behind. What differs is [written down](table::DIFFERENCES), with the
//! reason, and must differ.
//!
//! | variable | meaning |
//! |---|---|
//! | `XS_TEST_C_SOCKET`, `XS_TEST_OX_SOCKET` | socket of a C daemon and of an oxenstored, as dom0; without it that daemon is left out |
//! | `XS_TEST_C_GUEST5`, `XS_TEST_OX_GUEST5` | the same daemons, as domain 5; without it the lines for guests are left out |
//! | `XS_TEST_XENSTORE_CONTROL` | the original xenstore-control, which is not in the package of the other tools; without it its lines are left out |

mod table;

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xs_client::Client;

#[test]
fn on_the_c_daemon() {
    on_daemon("C");
}

#[test]
fn on_oxenstored() {
    on_daemon("OX");
}

fn on_daemon(kind: &str) {
    let Ok(socket) = env::var(format!("XS_TEST_{kind}_SOCKET")) else {
        say(&format!("SKIPPED: XS_TEST_{kind}_SOCKET names no daemon"));
        return;
    };
    let Some(originals) = find("xenstore-ls") else {
        say("SKIPPED: there are no xenstore tools in PATH to compare with");
        return;
    };
    let bench = Bench::new(kind, &socket, &originals);
    let mut same = 0;
    let mut left_out = 0;
    let mut wrong = Vec::new();
    for line in table::LINES {
        if !bench.can_run(line) {
            say(&format!("left out: {line}"));
            left_out += 1;
            continue;
        }
        let [theirs, ours] = bench.run_both(line);
        let on_ox = if bench.is_c { &[][..] } else { table::DIFFERENCES_ON_OX };
        let mut differences = table::DIFFERENCES.iter().chain(on_ox);
        let difference = differences.find(|(differing, _)| differing == line);
        match (theirs == ours, difference) {
            (true, None) => same += 1,
            (false, Some((_, why))) => say(&format!("differs, because {why}: {line}")),
            (true, Some(_)) => wrong.push(format!("{line}\nis listed as different, and is not")),
            (false, None) => wrong.push(format!("{line}\n{}", theirs.difference(&ours))),
        }
    }
    let all = table::LINES.len();
    say(&format!("{kind}: {same} of {all} lines are the same, {left_out} were left out"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_table_is_large_and_has_no_line_twice() {
    assert!(table::LINES.len() >= 150, "{}", table::LINES.len());
    for (at, line) in table::LINES.iter().enumerate() {
        assert!(!table::LINES[..at].contains(line), "{line}");
    }
    for (line, _) in table::DIFFERENCES.iter().chain(table::DIFFERENCES_ON_OX) {
        assert!(table::LINES.contains(line), "{line}");
    }
}

/// Where lines are run.
struct Bench {
    client: Client,
    is_c: bool,
    socket: String,
    guest: Option<String>,
    control: Option<PathBuf>,
    /// Directories of either kind of tools.
    originals: PathBuf,
    ours: TempDir,
}

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: Option<i32>,
    stdout: String,
    /// What the subtree for writing was left as.
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

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left behind harms nobody.
        let _ = self.client.rm("/xs-cli");
    }
}

impl Bench {
    fn new(kind: &str, socket: &str, originals: &Path) -> Self {
        let client = Client::open_at(socket).expect("the daemon answers");
        table::set_up_once(&client).expect("dom0 may write everywhere");
        let ours = TempDir::new(kind);
        let done =
            Command::new(env!("CARGO_BIN_EXE_xs")).arg("install-links").arg(&ours.0).output();
        assert!(done.expect("xs runs").status.success());
        Bench {
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

    fn run_both(&self, line: &str) -> [Outcome; 2] {
        let control = self.control.as_deref().and_then(Path::parent);
        let theirs = [Some(&*self.originals), control];
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
            .env("PATH", env::join_paths(path).expect("no colons"))
            .env("XENSTORED_PATH", &self.socket)
            .env("GUEST", self.guest.as_deref().unwrap_or_default())
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .expect("there is a bash");
        Outcome {
            status: output.status.code(),
            stdout: output.stdout.escape_ascii().to_string().replace("\\n", "\n"),
            nodes: self.nodes(),
        }
    }

    fn nodes(&self) -> Vec<String> {
        let walk = self.client.walk(table::TREE).with_values().with_perms();
        let show = |node: xs_client::Node| {
            let value = node.value.expect("was asked for").expect("dom0 may read");
            let perms = node.perms.expect("was asked for").expect("dom0 may read");
            format!("{} ({perms}) {}", node.path, value.escape_ascii())
        };
        walk.filter(|node| node.children.is_ok()).map(show).collect()
    }
}

/// Says something also when the test succeeds.
fn say(what: &str) {
    // Whoever does not listen misses nothing.
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// The directory in PATH where a program is.
fn find(program: &str) -> Option<PathBuf> {
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
        // What is left behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
