//! Existing clients on the in-memory xenstored: the `xenstore-*` tools, a C program on libxenstore,
//! and pyxs.
//!
//! Each client runs on the in-memory xenstored behind a socket, and on the genuine C daemon that
//! `XS_TEST_C_SOCKET` names. It has to print the expected text on both.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use xs_tests::settings::skip;
use xs_tests::{SocketServer, TempDir};
use xs_transport::mock::Xenstored;

/// Uses every command of the tools.
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

const TOOLS_OUTPUT: &str = r#"one
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
const C_PROGRAM_OUTPUT: &str = "\
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

const PYTHON_OUTPUT: &str = r"b'one' b'one' [b'a', b'b'] False
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
fn xenstore_tools_print_the_same() {
    if !works(Command::new("sh").args(["-c", "command -v xenstore-ls xenstore-watch"])) {
        skip("xenstore-ls and xenstore-watch are not installed");
        return;
    }
    let outputs = on_each(|socket, dir| {
        Command::new("sh")
            .args(["-c", TOOLS])
            .env("XENSTORED_PATH", socket)
            .env("OUT", dir.join("events"))
            .output()
            .map(|output| normalize(&text(&output)))
    });
    for (daemon, output) in outputs {
        assert_eq!(output, normalize(TOOLS_OUTPUT), "on the {daemon} xenstored");
    }
}

#[test]
fn c_program_on_libxenstore_prints_the_same() {
    let dir = TempDir::new();
    let (source, program) = (dir.join("client.c"), dir.join("client"));
    fs::write(&source, C_PROGRAM).expect("the directory is writable");
    if !works(Command::new("cc").arg("-o").arg(&program).arg(&source).arg("-lxenstore")) {
        skip("a C compiler or the development files of libxenstore are not installed");
        return;
    }
    let outputs = on_each(|socket, _| {
        let mut command = Command::new(&program);
        command.env("XENSTORED_PATH", socket).output().map(|output| text(&output))
    });
    for (daemon, output) in outputs {
        assert_eq!(output, C_PROGRAM_OUTPUT, "on the {daemon} xenstored");
    }
}

#[test]
fn pyxs_prints_the_same() {
    let python = env::var("XS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !works(Command::new(&python).args(["-c", "import pyxs"])) {
        skip(&format!("{python} has no pyxs; set XS_TEST_PYTHON to a Python that has it"));
        return;
    }
    let outputs = on_each(|socket, _| {
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON]).arg(socket).output().map(|output| text(&output))
    });
    for (daemon, output) in outputs {
        assert_eq!(output, PYTHON_OUTPUT, "on the {daemon} xenstored");
    }
}

/// Runs a client on the in-memory xenstored and, if there is one, on a genuine daemon. Returns the
/// name of each daemon with the output of the client.
fn on_each(run: impl Fn(&Path, &Path) -> io::Result<String>) -> Vec<(&'static str, String)> {
    let xenstored = Xenstored::new();
    let server = SocketServer::start(xenstored.clone());
    let before = xenstored.node_count();
    let output = run(&server.socket(), server.dir()).expect("the client starts");
    assert_eq!(xenstored.node_count(), before, "the client left nodes behind:\n{output}");
    let mut outputs = vec![("in-memory", output)];
    match env::var_os("XS_TEST_C_SOCKET") {
        Some(socket) => {
            let output = run(Path::new(&socket), server.dir()).expect("the client starts");
            outputs.push(("genuine", output));
        }
        None => {
            println!("XS_TEST_C_SOCKET is not set, so that only the in-memory xenstored is used")
        }
    }
    outputs
}

/// Whether a command can be run.
fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn text(output: &Output) -> String {
    let all = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Removes the dots with which `xenstore-ls` fills lines to the width of the terminal, and moves
/// error messages to the end, where standard error is.
fn normalize(text: &str) -> String {
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
