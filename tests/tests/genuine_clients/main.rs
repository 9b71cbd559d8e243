//! Existing clients on the in-memory xenstored: the `xenstore-*` tools and a C program on libxenstore,
//! both of Xen 4.17 and 4.20, Xen's own `test-xenstore`, the Python module of Xen, and pyxs.
//!
//! Each client runs on every flavour of the in-memory xenstored, and on the genuine daemons that
//! `XS_TEST_C_SOCKET` and `XS_TEST_OX_SOCKET` name. It has to print the same text on each of them.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use xs_tests::settings::{path, skip};
use xs_tests::{SocketServer, TempDir};
use xs_transport::mock::{Flavour, Xenstored};

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

/// Uses the functions of the Python module that comes with Xen, `xen.lowlevel.xs`.
const XEN_PYTHON: &str = r#"
from xen.lowlevel import xs
x = xs.xs()
x.write("", "/low/a", "one")
x.mkdir("", "/low/b")
print(x.read("", "/low/a"), x.ls("", "/low"), x.read("", "/low/none"))
x.set_permissions("", "/low/a", [{"dom": 0, "read": True, "write": True}, {"dom": 5, "read": True}])
print([sorted(p.items()) for p in x.get_permissions("", "/low/a")])
t = x.transaction_start()
x.write(t, "/low/a", "two")
print(x.read("", "/low/a"), x.read(t, "/low/a"), x.transaction_end(t, False), x.read("", "/low/a"))
t = x.transaction_start()
x.write(t, "/low/a", "three")
print(x.transaction_end(t, True), x.read("", "/low/a"))
x.watch("/low", "token")
print(x.read_watch())
x.write("", "/low/b/x", "x")
print(x.read_watch())
x.unwatch("/low", "token")
print(x.get_domain_path(5))
x.rm("", "/low")
print(x.ls("", "/low"))
x.close()
"#;

const XEN_PYTHON_OUTPUT: &str = r"b'one' ['a', 'b'] None
[[('dom', 0), ('read', 1), ('write', 2)], [('dom', 5), ('read', 1), ('write', 0)]]
b'one' b'two' True b'two'
True b'two'
('/low', 'token')
('/low/b/x', 'token')
/local/domain/5
None
";

#[test]
fn xenstore_tools_print_the_same() {
    if !works(Command::new("sh").args(["-c", "command -v xenstore-ls xenstore-watch"])) {
        skip("xenstore-ls and xenstore-watch are not installed");
        return;
    }
    tools_print_the_same(&env::var_os("PATH").unwrap_or_default());
}

#[test]
fn xenstore_tools_of_xen_4_20_print_the_same() {
    let Some(debian_13) = path("XS_TEST_DEBIAN_13") else { return };
    let system = env::var_os("PATH").unwrap_or_default();
    let directories = [debian_13.join("tools")].into_iter().chain(env::split_paths(&system));
    tools_print_the_same(&env::join_paths(directories).expect("paths have no colons"));
}

fn tools_print_the_same(path: &OsStr) {
    assert_on_each(&normalize(TOOLS_OUTPUT), |socket, dir| {
        let mut tools = Command::new("sh");
        tools.args(["-c", TOOLS]).env("PATH", path).env("OUT", dir.join("events"));
        tools.env("XENSTORED_PATH", socket).output().map(|output| normalize(&text(&output)))
    });
}

#[test]
fn c_program_on_libxenstore_prints_the_same() {
    let dir = TempDir::new();
    let Some(program) = compile_c_program(&dir) else { return };
    assert_on_each(C_PROGRAM_OUTPUT, |socket, _| {
        Command::new(&program).env("XENSTORED_PATH", socket).output().map(|output| text(&output))
    });
}

#[test]
fn c_program_on_libxenstore_of_xen_4_20_prints_the_same() {
    let Some(debian_13) = path("XS_TEST_DEBIAN_13") else { return };
    let dir = TempDir::new();
    let Some(program) = compile_c_program(&dir) else { return };
    assert_on_each(C_PROGRAM_OUTPUT, |socket, _| {
        let mut command = Command::new(debian_13.join("run"));
        command.arg(&program).env("XENSTORED_PATH", socket).output().map(|output| text(&output))
    });
}

fn compile_c_program(dir: &TempDir) -> Option<PathBuf> {
    let (source, program) = (dir.join("client.c"), dir.join("client"));
    fs::write(&source, C_PROGRAM).expect("the directory is writable");
    if works(Command::new("cc").arg("-o").arg(&program).arg(&source).arg("-lxenstore")) {
        return Some(program);
    }
    skip("a C compiler or the development files of libxenstore are not installed");
    None
}

/// `test-xenstore` checks what it reads. It prints how long each test takes.
#[test]
fn test_xenstore_passes() {
    let Some(debian_13) = path("XS_TEST_DEBIAN_13") else { return };
    let program = debian_13.join("tools/test-xenstore");
    assert_on_each("passed", |socket, _| {
        let mut command = Command::new(&program);
        let output = command.env("XENSTORED_PATH", socket).output()?;
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let has_passed = output.status.success() && lines.count() == 12;
        Ok(if has_passed { "passed".to_owned() } else { text(&output) })
    });
}

#[test]
fn python_module_of_xen_prints_the_same() {
    let Some(modules) = path("XS_TEST_XEN_PYTHON") else { return };
    assert_on_each(XEN_PYTHON_OUTPUT, |socket, _| {
        // The module is built for Debian's Python.
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", XEN_PYTHON]).env("PYTHONPATH", &modules);
        command.env("XENSTORED_PATH", socket).output().map(|output| text(&output))
    });
}

#[test]
fn pyxs_prints_the_same() {
    let python = env::var("XS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !works(Command::new(&python).args(["-c", "import pyxs"])) {
        skip(&format!("{python} has no pyxs; set XS_TEST_PYTHON to a Python that has it"));
        return;
    }
    assert_on_each(PYTHON_OUTPUT, |socket, _| {
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON]).arg(socket).output().map(|output| text(&output))
    });
}

/// Runs a client on every flavour of the in-memory xenstored and on each genuine daemon. The closure
/// receives the socket and a directory for files, and returns the output of the client.
///
/// # Panics
/// Panics if an output differs from the expected one.
fn assert_on_each(expected: &str, run: impl Fn(&Path, &Path) -> io::Result<String>) {
    for flavour in Flavour::ALL {
        let xenstored = Xenstored::with_flavour(*flavour);
        // Relative paths are below this node, which every host has.
        xenstored.set("/local/domain/0", "").expect("the path is valid");
        let server = SocketServer::start(xenstored.clone());
        let before = xenstored.node_count();
        let output = run(&server.socket(), server.dir()).expect("the client starts");
        assert_eq!(output, expected, "on the in-memory {flavour:?}");
        assert_eq!(xenstored.node_count(), before, "{flavour:?}: the client left nodes behind");
    }
    // The tests use the same paths.
    static GENUINE: Mutex<()> = Mutex::new(());
    let _guard = GENUINE.lock().unwrap_or_else(PoisonError::into_inner);
    for name in ["XS_TEST_C_SOCKET", "XS_TEST_OX_SOCKET"] {
        if let Some(socket) = env::var_os(name) {
            let dir = TempDir::new();
            let output = run(Path::new(&socket), &dir).expect("the client starts");
            assert_eq!(output, expected, "on the daemon of {name}");
        }
    }
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
