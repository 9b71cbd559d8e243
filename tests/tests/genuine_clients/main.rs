//! Clients that are not ours on the in-memory xenstored: the `xenstore-*` tools, a C program on
//! libxenstore, and pyxs.
//!
//! Each script runs against the in-memory xenstored behind a socket, and against a genuine C
//! daemon if there is one; what it prints must be what is written here, on both.
//!
//! | variable | meaning |
//! |---|---|
//! | `XS_TEST_C_SOCKET` | socket of a genuine C daemon, as dom0 |
//! | `XS_TEST_PYTHON` | a Python that has pyxs; otherwise `python3` |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

use xs_proto::DomId;
use xs_transport::mock::{Server, StopHandle, Xenstored};

/// Everything that the tools do, and what they say.
const TOOLS: &str = r#"
    set -u
    xenstore-write /tools/a one /tools/b/c two
    xenstore-read /tools/a /tools/b/c
    xenstore-read -p /tools/a
    xenstore-read /tools/none || echo "status $?"
    xenstore-list /tools
    xenstore-list -p /tools
    xenstore-exists /tools/a && echo exists
    xenstore-exists /tools/none || echo "status $?"
    xenstore-chmod /tools/a b5 r7
    xenstore-chmod -r /tools/b n5
    xenstore-ls -p /tools
    xenstore-ls -f /tools
    xenstore-rm /tools/a
    xenstore-rm -t /tools/b/c
    xenstore-ls /tools
    xenstore-watch -n 3 /watched > "$OUT" &
    until xenstore-exists /done; do
        xenstore-write /watched/x 1
        test -s "$OUT" && xenstore-write /done ""
    done
    xenstore-write /watched/x 2 ; xenstore-write /watched/x 3
    wait
    sort -u "$OUT"
    xenstore-rm /watched ; xenstore-rm /done
"#;

const TOOLS_SAY: &str = r#"one
two
/tools/a: one
xenstore-read: couldn't read path /tools/none
status 1
a
b
/tools/a
/tools/b
exists
status 1
a = "one"   (b5,r7)
b = ""   (n5)
 c = "two"   (n5)
/tools/a = "one"
/tools/b = ""
/tools/b/c = "two"
/watched
/watched/x
xenstore-ls: xs_directory (/tools): No such file or directory
"#;

const C_PROGRAM: &str = include_str!("client.c");
const C_PROGRAM_SAYS: &str = "\
/local/domain/5
write ok
value
a b
b6 r7
none: ENOENT
inside: changed
outside: value
committed
outside: changed
conflict: EAGAIN
event /c t
event /c/x t
removed
5 introduced: no
";

const PYTHON: &str = r#"
import sys
from pyxs import Client, Router
from pyxs.exceptions import PyXSError
with Client(unix_socket_path=sys.argv[1]) as c:
    c.write(b"/py/a", b"one")
    c.mkdir(b"/py/b")
    print(c.read(b"/py/a"), c[b"/py/a"], c.list(b"/py"), c.exists(b"/py/none"))
    print(c.get_perms(b"/py/a"))
    c.set_perms(b"/py/a", [b"b0", b"r5"])
    print(c.get_perms(b"/py/a"), c.get_domain_path(5), c.is_domain_introduced(0))
    try:
        c.read(b"/py/none")
    except PyXSError as e:
        print(type(e).__name__, e.args[0])
    c.transaction()
    c.write(b"/py/a", b"two")
    c.commit()
    print(c.read(b"/py/a"))
    c.transaction()
    c.write(b"/py/a", b"three")
    c.rollback()
    print(c.read(b"/py/a"), [p for p, _, _ in c.walk(b"/py")])
    m = c.monitor()
    m.watch(b"/py", b"token")
    print(next(m.wait()))
    c.write(b"/py/b/x", b"x")
    print(next(m.wait()))
    m.unwatch(b"/py", b"token")
    c.delete(b"/py")
    print(c.exists(b"/py"))
"#;

const PYTHON_SAYS: &str = r"b'one' b'one' [b'a', b'b'] False
[b'n0']
[b'b0', b'r5'] b'/local/domain/5' True
PyXSError 2
b'two'
b'two' [b'/py', b'/py/a', b'/py/b']
Event(path=b'/py', token=b'token')
Event(path=b'/py/b/x', token=b'token')
False
";

#[test]
fn the_xenstore_tools() {
    if !works(Command::new("sh").args(["-c", "command -v xenstore-ls xenstore-watch"])) {
        println!("SKIPPED: there is no xenstore-ls");
        return;
    }
    on_each("tools", |socket, dir| {
        Command::new("sh")
            .args(["-c", TOOLS])
            .env("XENSTORED_PATH", socket)
            .env("OUT", dir.join("events"))
            .output()
            .map(|output| squeeze(&text(&output)))
    })
    .into_iter()
    .for_each(|(whose, said)| assert_eq!(said, squeeze(TOOLS_SAY), "on the {whose} xenstored"));
}

#[test]
fn a_c_program_on_libxenstore() {
    let dir = scratch("c-program");
    let (source, program) = (dir.join("client.c"), dir.join("client"));
    fs::write(&source, C_PROGRAM).expect("a file");
    if !works(Command::new("cc").arg("-o").arg(&program).arg(&source).arg("-lxenstore")) {
        println!("SKIPPED: no C compiler, or no libxenstore to develop with");
        fs::remove_dir_all(&dir).expect("a directory");
        return;
    }
    let runs = on_each("c", |socket, _| {
        let mut command = Command::new(&program);
        command.env("XENSTORED_PATH", socket).output().map(|output| text(&output))
    });
    fs::remove_dir_all(&dir).expect("a directory");
    for (whose, said) in runs {
        assert_eq!(said, C_PROGRAM_SAYS, "on the {whose} xenstored");
    }
}

#[test]
fn pyxs() {
    let python = std::env::var("XS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !works(Command::new(&python).args(["-c", "import pyxs"])) {
        println!("SKIPPED: {python} has no pyxs; XS_TEST_PYTHON can name one that has");
        return;
    }
    on_each("pyxs", |socket, _| {
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON]).arg(socket).output().map(|output| text(&output))
    })
    .into_iter()
    .for_each(|(whose, said)| assert_eq!(said, PYTHON_SAYS, "on the {whose} xenstored"));
}

/// What the client says on the in-memory xenstored, and on a genuine one.
fn on_each(
    name: &str,
    run: impl Fn(&Path, &Path) -> io::Result<String>,
) -> Vec<(&'static str, String)> {
    let served = Served::new(name);
    let mut said = Vec::new();
    let before = served.xenstored.node_count();
    said.push(("in-memory", run(&served.dir.join("socket"), &served.dir).expect("it runs")));
    assert_eq!(served.xenstored.node_count(), before, "left something behind: {said:?}");
    match std::env::var_os("XS_TEST_C_SOCKET") {
        Some(socket) => {
            said.push(("genuine", run(Path::new(&socket), &served.dir).expect("it runs")));
        }
        None => println!("XS_TEST_C_SOCKET names no genuine daemon: not compared"),
    }
    said
}

/// The in-memory xenstored behind a socket.
struct Served {
    dir: PathBuf,
    xenstored: Xenstored,
    stop: StopHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Served {
    fn new(name: &str) -> Self {
        let dir = scratch(name);
        let xenstored = Xenstored::new();
        let mut server = Server::new(xenstored.clone()).expect("a server");
        server.bind(dir.join("socket"), DomId::DOM0).expect("a socket");
        let stop = server.stop_handle();
        let thread = Some(thread::spawn(move || server.run()));
        Served { dir, xenstored, stop, thread }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        fs::remove_dir_all(&self.dir).expect("a directory");
        if !thread::panicking() {
            ended.expect("a thread").expect("no panic").expect("a clean end");
        }
    }
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("xs-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn text(output: &Output) -> String {
    let all = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// `xenstore-ls` fills lines with dots, as wide as it thinks the terminal is; and what goes to
/// the standard error comes last.
fn squeeze(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<_> = line.split_whitespace().filter(|word| *word != ".").collect();
        lines.push(format!("{}{}", &line[..indent], words.join(" ")));
    }
    let (errors, mut rest): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line.starts_with("xenstore-"));
    rest.extend(errors);
    rest.join("\n")
}
