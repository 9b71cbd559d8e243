//! The command lines to compare, and the nodes that they work on.

use xs_client::{Client, Permissions, Result};

/// The subtree that lines may change. It is created anew before each line.
pub(crate) const TREE: &str = "/xs-cli/t";

/// Lines whose results differ between `xs` and the tools, with the reason. `xs` follows the tools of
/// Xen 4.22, those to compare with are older.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "xenstore-read /xs-cli/t/a /xs-cli/t/b > /dev/full",
        "xs fails if it cannot write its output, xenstore-read succeeds",
    ),
    ("xenstore-read -h", HELP),
    ("xenstore-read --help", HELP),
    ("xenstore-read -h /xs-cli/t/a", HELP),
    ("xenstore-read -h -f /xs-cli/t/a", HELP),
    ("xenstore-write -h", HELP),
    ("xenstore-ls -h", HELP),
    ("xenstore read -h", HELP),
    (
        "xenstore-list -p /",
        "newer tools print one slash before each name, those up to 4.20 print two",
    ),
    ("xenstore-watch -n 1 -d 0 /xs-cli/t", DEPTH),
    ("xenstore-watch -n 1 --depth=1 /xs-cli/t", DEPTH),
];

const HELP: &str = "newer tools exit with status 0 for -h, those up to 4.20 with 1";
const DEPTH: &str =
    "newer tools can limit the depth of a watch, those up to 4.20 ignore the option";

/// Lines whose results differ on oxenstored only.
const DIFFERENCES_ON_OX: &[&str] = &[
    "xenstore-list /xs-cli/wide",
    "xenstore-list -p /xs-cli/wide | tail -3",
    "xenstore-ls",
    "xenstore-ls -fp",
    "xenstore-ls /",
    "xenstore-ls /xs-cli/wide",
    "xenstore-ls -p /xs-cli/wide",
    "xenstore-ls -f /xs-cli/wide | sort | head -20",
];

/// Returns why a line has another result with `xs` than with the tools, if that is known.
pub(crate) fn difference(line: &str, is_c: bool) -> Option<&'static str> {
    match DIFFERENCES.iter().find(|(differing, _)| *differing == line) {
        Some((_, reason)) => Some(reason),
        None if !is_c && DIFFERENCES_ON_OX.contains(&line) => {
            Some("oxenstored sends many children in one message, which libxenstore rejects")
        }
        None => None,
    }
}

/// Returns all lines with known differences.
pub(crate) fn differing() -> impl Iterator<Item = &'static str> {
    DIFFERENCES.iter().map(|(line, _)| *line).chain(DIFFERENCES_ON_OX.iter().copied())
}

/// Lines that run on C xenstored only. On oxenstored they would remove all nodes, and leave invalid
/// domain IDs behind.
pub(crate) const C_ONLY: &[&str] =
    &["xenstore-rm /", "xenstore-chmod /xs-cli/t/a b-1", "xenstore-chmod /xs-cli/t/a b99999"];

/// Command lines for bash.
pub(crate) const LINES: &[&str] = &[
    // read
    "xenstore-read /xs-cli/t/a",
    "xenstore-read /xs-cli/t/a /xs-cli/t/b /xs-cli/t/c/d",
    "xenstore-read -p /xs-cli/t/a",
    "xenstore-read -p /xs-cli/t/a /xs-cli/t/bin /xs-cli/t/empty",
    "xenstore-read --prefix /xs-cli/t/a /xs-cli/t/b",
    "xenstore-read /xs-cli/t/a -p /xs-cli/t/b",
    "xenstore-read -R /xs-cli/t/bin",
    "xenstore-read -R /xs-cli/t/a /xs-cli/t/b",
    "xenstore-read -pR /xs-cli/t/a /xs-cli/t/b",
    "xenstore-read --raw /xs-cli/t/bin | od -c",
    "xenstore-read -s /xs-cli/t/a",
    "xenstore-read -s -p -R /xs-cli/t/a",
    "xenstore-read /xs-cli/t/bin",
    "xenstore-read /xs-cli/t/empty",
    "xenstore-read -R /xs-cli/t/empty",
    "xenstore-read -p /xs-cli/t/empty",
    "xenstore-read /xs-cli/t/missing",
    "xenstore-read /xs-cli/t/a /xs-cli/t/missing /xs-cli/t/b",
    "xenstore-read /xs-cli/t/missing /xs-cli/t/a",
    "xenstore-read /xs-cli/t/a /xs-cli/t/a",
    "xenstore-read /xs-cli//t",
    "xenstore-read /xs-cli/t/",
    "xenstore-read '/xs-cli/t/a b'",
    "xenstore-read ''",
    "xenstore-read /",
    "xenstore-read @releaseDomain",
    "xenstore-read xs-cli-relative",
    "xenstore-read",
    "xenstore-read -p",
    "xenstore-read -h",
    "xenstore-read --help",
    "xenstore-read -h /xs-cli/t/a",
    "xenstore-read -h -f /xs-cli/t/a",
    "xenstore-read -f -h /xs-cli/t/a",
    "xenstore-read -f /xs-cli/t/a",
    "xenstore-read -t /xs-cli/t/a",
    "xenstore-read -n 1 /xs-cli/t/a",
    "xenstore-read -x /xs-cli/t/a",
    "xenstore-read -xyz /xs-cli/t/a",
    "xenstore-read --nothing /xs-cli/t/a",
    "xenstore-read --pre /xs-cli/t/a",
    "xenstore-read --r /xs-cli/t/a",
    "xenstore-read --ra /xs-cli/t/a",
    "xenstore-read --prefix=1 /xs-cli/t/a",
    "xenstore-read -- /xs-cli/t/a",
    "xenstore-read -- -p",
    "xenstore-read - /xs-cli/t/a",
    "xenstore-read /xs-cli/t/long | wc -c",
    "xenstore-read /xs-cli/t/a /xs-cli/t/b > /dev/full",
    // write
    "xenstore-write /xs-cli/t/new value",
    "xenstore-write /xs-cli/t/a value",
    "xenstore-write /xs-cli/t/a ''",
    "xenstore-write /xs-cli/t/n1 1 /xs-cli/t/n2 2 /xs-cli/t/n3 3",
    "xenstore-write /xs-cli/t/deep/er/still 1",
    "xenstore-write /xs-cli/t/a 1 /xs-cli/t/a 2",
    r"xenstore-write /xs-cli/t/a 'tab\tline\nreturn\rback\\slash'",
    r"xenstore-write /xs-cli/t/a '\x00\x01\x7f\x80\xff'",
    r"xenstore-write /xs-cli/t/a '\0\1\12\123\1234\400\777\08\8'",
    r"xenstore-write /xs-cli/t/a '\x\x4\x4g\xg1\x123\X41'",
    r#"xenstore-write /xs-cli/t/a "\\a\\b\\f\\v\\e\\'\\\"\\u0041""#,
    r"xenstore-write /xs-cli/t/a 'end\'",
    r"xenstore-write /xs-cli/t/a '\'",
    r"xenstore-write -R /xs-cli/t/a 'tab\tline\n\x00\\'",
    r"xenstore-write --raw /xs-cli/t/a '\x41' /xs-cli/t/b '\x42'",
    "xenstore-write /xs-cli/t/a $'line\\nbreak\\x80\\xff\\x01'",
    "xenstore-write /xs-cli/t/a 'ä€😀'",
    "xenstore-write -s /xs-cli/t/a 1",
    "xenstore-write /xs-cli/t/a",
    "xenstore-write /xs-cli/t/a 1 /xs-cli/t/b",
    "xenstore-write",
    "xenstore-write -h",
    "xenstore-write -p /xs-cli/t/a 1",
    "xenstore-write -x /xs-cli/t/a 1",
    "xenstore-write /xs-cli/t/a -5",
    "xenstore-write -- /xs-cli/t/a -5",
    "xenstore-write /xs-cli/t/a 1 /xs-cli//t 2",
    "xenstore-write /xs-cli/t/x1 1 /xs-cli/t/x2/ 2 /xs-cli/t/x3 3",
    "xenstore-write '' 1",
    "xenstore-write @releaseDomain 1",
    "xenstore-write xs-cli-relative 1; xenstore-read xs-cli-relative; xenstore-rm xs-cli-relative",
    "xenstore-write /xs-cli/t/a \"$(printf 'x%.0s' {1..2000})\"",
    "xenstore-write /xs-cli/t/a \"$(printf 'x%.0s' {1..4200})\"",
    "xenstore-write /xs-cli/t/b 2 /xs-cli/t/a \"$(printf 'x%.0s' {1..4200})\"",
    // list
    "xenstore-list /xs-cli/t",
    "xenstore-list -p /xs-cli/t",
    "xenstore-list --prefix /xs-cli/t /xs-cli/t/c",
    "xenstore-list /xs-cli/t /xs-cli/t/c",
    "xenstore-list /xs-cli/t/a",
    "xenstore-list -s /xs-cli/t",
    "xenstore-list /xs-cli/t/missing",
    "xenstore-list /xs-cli/t/c /xs-cli/t/missing /xs-cli/t/c",
    "xenstore-list /xs-cli/t/",
    "xenstore-list -p /",
    "xenstore-list",
    "xenstore-list -f /xs-cli/t",
    "xenstore-list /xs-cli/wide",
    "xenstore-list -p /xs-cli/wide | tail -3",
    "xenstore-list /local/domain/0 . ",
    // exists
    "xenstore-exists /xs-cli/t/a",
    "xenstore-exists /xs-cli/t/a /xs-cli/t/b",
    "xenstore-exists /xs-cli/t/a /xs-cli/t/missing",
    "xenstore-exists /xs-cli/t/missing /xs-cli/t/a",
    "xenstore-exists /xs-cli/t/missing",
    "xenstore-exists /xs-cli/t/missing/below",
    "xenstore-exists /xs-cli//t",
    "xenstore-exists -s /xs-cli/t/a",
    "xenstore-exists -p /xs-cli/t/a",
    "xenstore-exists",
    "xenstore-exists ''",
    // rm
    "xenstore-rm /xs-cli/t/a",
    "xenstore-rm /xs-cli/t/a /xs-cli/t/c",
    "xenstore-rm /xs-cli/t/c",
    "xenstore-rm /xs-cli/t/missing",
    "xenstore-rm /xs-cli/t/missing/below",
    "xenstore-rm /xs-cli/t/a /xs-cli/t/missing/below",
    "xenstore-rm -t /xs-cli/t/c/d/e",
    "xenstore-rm -t /xs-cli/t/lone/ly/node",
    "xenstore-rm --tidy /xs-cli/t/full/empty/node",
    "xenstore-rm -t /xs-cli/t/lone/ly/node /xs-cli/t/full/empty/node",
    "xenstore-rm -t /xs-cli/t/missing",
    "xenstore-rm -t /xs-cli/t/missing/below",
    "xenstore-rm -t /xs-cli/t/lone/missing",
    "xenstore-rm -s /xs-cli/t/a",
    "xenstore-rm -r /xs-cli/t/a",
    "xenstore-rm",
    "xenstore-rm /",
    "xenstore-rm /xs-cli//t",
    "xenstore-rm ''",
    "xenstore-write xs-cli/x/y 1; xenstore-rm -t xs-cli/x/y; xenstore-exists xs-cli",
    // chmod
    "xenstore-chmod /xs-cli/t/a b5",
    "xenstore-chmod /xs-cli/t/a n0 r5 w7 b9",
    "xenstore-chmod -r /xs-cli/t/c r3",
    "xenstore-chmod -u /xs-cli/t/c/d n4 r5; xenstore-chmod /xs-cli n0",
    "xenstore-chmod -u -r /xs-cli/t/c n4; xenstore-chmod /xs-cli n0",
    "xenstore-chmod --recurse --upto /xs-cli/t/c n4; xenstore-chmod /xs-cli n0",
    "xenstore-chmod /xs-cli/t/a",
    "xenstore-chmod",
    "xenstore-chmod /xs-cli/t/a x5",
    "xenstore-chmod /xs-cli/t/a 5",
    "xenstore-chmod /xs-cli/t/a ''",
    "xenstore-chmod /xs-cli/t/a n0 ''",
    "xenstore-chmod /xs-cli/t/a b",
    "xenstore-chmod /xs-cli/t/a b5x",
    "xenstore-chmod /xs-cli/t/a 'b 5'",
    "xenstore-chmod /xs-cli/t/a B5",
    "xenstore-chmod /xs-cli/t/a b-1",
    "xenstore-chmod /xs-cli/t/a b99999",
    "xenstore-chmod /xs-cli/t/missing n0",
    "xenstore-chmod -r /xs-cli/t/missing n0",
    "xenstore-chmod -u /xs-cli/t/missing n0",
    "xenstore-chmod /xs-cli//t n0",
    "xenstore-chmod /xs-cli/t/a n0 /xs-cli/t/b n0",
    "xenstore-chmod -p /xs-cli/t/a n0",
    "xenstore-chmod -s /xs-cli/t/a n0",
    "xenstore-chmod /xs-cli/t/a n1 n2 n3 n4 n5 n6 n7 n8 n9",
    // ls, without a terminal
    "xenstore-ls /xs-cli/t",
    "xenstore-ls -f /xs-cli/t",
    "xenstore-ls -p /xs-cli/t",
    "xenstore-ls -fp /xs-cli/t",
    "xenstore-ls --flat --prefix /xs-cli/t",
    "xenstore-ls -s /xs-cli/t/c",
    "xenstore-ls /xs-cli/t/a",
    "xenstore-ls -f /xs-cli/t/a",
    "xenstore-ls -p /xs-cli/t/c /xs-cli/t/full",
    "xenstore-ls",
    "xenstore-ls -fp",
    "xenstore-ls /",
    "xenstore-ls /xs-cli/t/missing",
    "xenstore-ls /xs-cli/t/c /xs-cli/t/missing /xs-cli/t/c",
    "xenstore-ls /xs-cli/t/",
    "xenstore-ls //",
    "xenstore-ls ''",
    "xenstore-ls -h",
    "xenstore-ls -R /xs-cli/t/c",
    "xenstore-ls -x /xs-cli/t/c",
    "xenstore-ls /xs-cli/wide",
    "xenstore-ls -p /xs-cli/wide",
    "xenstore-ls -f /xs-cli/wide | sort | head -20",
    "xenstore-ls /xs-cli/wide | true",
    "xenstore-ls /xs-cli/deep",
    "xenstore-ls -p /xs-cli/deep",
    "xenstore-ls -fp /xs-cli/deep",
    "xenstore-ls /xs-cli/widths",
    "xenstore-ls -p /xs-cli/widths",
    "xenstore-ls -f /xs-cli/widths",
    "COLUMNS=40 xenstore-ls -p /xs-cli/widths",
    "xenstore-write xs-cli/x/y 1; xenstore-ls xs-cli; xenstore-ls -fp xs-cli; xenstore-rm xs-cli",
    // ls, on terminals of various widths
    "script -qec 'stty cols 80; xenstore-ls /xs-cli/t' /dev/null",
    "script -qec 'stty cols 80; xenstore-ls -p /xs-cli/t' /dev/null",
    "script -qec 'stty cols 80; xenstore-ls /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 80; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 80; xenstore-ls -f /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 80; xenstore-ls -fp /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 80; COLUMNS=30 xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 60; xenstore-ls /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 60; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 60; xenstore-ls -fp /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 61; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 62; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 63; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 64; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 40; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 20; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 200; xenstore-ls /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 200; xenstore-ls -p /xs-cli/widths' /dev/null",
    "script -qec 'stty cols 200; xenstore-ls -fp /xs-cli/widths' /dev/null",
    "script -qec 'for n in {0..30}; do stty cols $n; xenstore-ls -p /xs-cli/deep; done' /dev/null",
    "script -qec 'for n in {0..30}; do stty cols $n; xenstore-ls -f /xs-cli/deep; done' /dev/null",
    "script -qec 'for n in {0..99}; do stty cols $n; xenstore-ls -fp /xs-cli/widths; done' /dev/null",
    "script -qec 'for n in {0..99}; do stty cols $n; xenstore-ls -p /xs-cli/widths; done' /dev/null",
    "script -qec 'stty cols 60; xenstore-ls /xs-cli/widths | cat' /dev/null",
    "script -qec 'stty cols 60; xenstore-ls /xs-cli/widths 2>&1' /dev/null | head -3",
    // watch
    "xenstore-watch -n 1 /xs-cli/t",
    "xenstore-watch -n1 /xs-cli/t/missing",
    "xenstore-watch -n 2 /xs-cli/t /xs-cli/t/a",
    "xenstore-watch --number=1 /xs-cli/t",
    "xenstore-watch --num 1 -s /xs-cli/t",
    "xenstore-watch -n 1 @releaseDomain",
    "xenstore-watch -n 1 relative",
    "xenstore-watch -n 0 /xs-cli/t",
    "xenstore-watch -n -5 /xs-cli/t",
    "xenstore-watch -n x /xs-cli/t",
    "xenstore-watch -n 1x /xs-cli/t",
    "xenstore-watch -n 1 /xs-cli//t",
    "xenstore-watch -n 1 -d 0 /xs-cli/t",
    "xenstore-watch -n 1 --depth=1 /xs-cli/t",
    "xenstore-watch -n 2 /xs-cli/t /xs-cli/t",
    "xenstore-watch",
    "xenstore-watch -n",
    "xenstore-watch -n 1",
    "xenstore-watch -p -n 1 /xs-cli/t",
    "xenstore-watch -n 2 /xs-cli/t | while read -r p; do echo \"$p\"; \
     [ $p = /xs-cli/t ] && xenstore-write /xs-cli/t/new/node 1; done",
    "xenstore-watch -n 3 /xs-cli/t/c | while read -r p; do echo \"$p\"; case $p in \
     /xs-cli/t/c) xenstore-rm /xs-cli/t/c/d ;; */d) xenstore-chmod /xs-cli/t/c/f n5 ;; esac; done",
    "xenstore-watch -n 2 rel | while read -r p; do echo \"$p\"; \
     [ $p = rel ] && xenstore-write /local/domain/0/rel/x 1; done; xenstore-rm rel",
    // xenstore
    "xenstore",
    "xenstore -h",
    "xenstore nothing",
    "xenstore read",
    "xenstore read -p /xs-cli/t/a",
    "xenstore read -h",
    "xenstore write /xs-cli/t/a new",
    "xenstore ls -fp /xs-cli/t",
    "xenstore list /xs-cli/t",
    "xenstore exists /xs-cli/t/missing",
    "xenstore rm -t /xs-cli/t/c/d/e",
    "xenstore chmod /xs-cli/t/a b5",
    "xenstore watch -n 1 /xs-cli/t/a",
    "xenstore mkdir /xs-cli/t/new",
    "xenstore control check",
    // control
    "xenstore-control",
    "xenstore-control check",
    "xenstore-control check more",
    "xenstore-control help",
    "xenstore-control nothing",
    "xenstore-control log",
    "xenstore-control log on; xenstore-control log off",
    "xenstore-control print hello",
    "xenstore-control live-update",
    "xenstore-control live-update -F -c",
    "xenstore-control live-update -t",
    "xenstore-control live-update -t 1 /nowhere",
    "xenstore-control quota",
    "xenstore-control quota 5",
    "xenstore-control quota set nodes",
    "xenstore-control ''",
    // as a guest
    "as_guest xenstore-read domid",
    "as_guest xenstore-ls /xs-cli/t/closed",
    "as_guest xenstore-ls /xs-cli/guest",
    "as_guest xenstore-ls -f /xs-cli/guest",
    "as_guest xenstore-ls -p /xs-cli/guest",
    "as_guest xenstore-ls -fp /xs-cli/guest",
    "as_guest xenstore-list /xs-cli/guest /xs-cli/guest/closed",
    "as_guest xenstore-read /xs-cli/guest/closed",
    "as_guest xenstore-exists /xs-cli/guest/closed",
    "as_guest xenstore-exists /xs-cli/guest /xs-cli/guest/missing",
    "as_guest xenstore-write /xs-cli/guest/closed 1",
    "as_guest xenstore-write /xs-cli/t/mine 1 /xs-cli/t/a 2",
    "as_guest xenstore-write /xs-cli/t/mine/new 1 /xs-cli/t/mine 2",
    "as_guest xenstore-rm /xs-cli/t/a",
    "as_guest xenstore-rm /xs-cli/t/mine",
    "as_guest xenstore-rm -t /xs-cli/t/blind/node",
    "as_guest xenstore-rm -t /xs-cli/t/mine/below",
    "as_guest xenstore-chmod /xs-cli/t/mine n5 r7",
    "as_guest xenstore-chmod -r /xs-cli/t/mine n5 r7",
    "as_guest xenstore-chmod -u /xs-cli/t/mine/below n5",
    "as_guest xenstore-chmod /xs-cli/t/a n5",
    "as_guest xenstore-chmod /xs-cli/t/mine n5 r1 r2 r3 r4 r6",
    "as_guest xenstore-watch -n 1 /xs-cli/guest/closed",
    "as_guest xenstore-write /xs-cli/t/mine \"$(printf 'x%.0s' {1..2100})\"",
    // without a daemon
    "XENSTORED_PATH=/nowhere xenstore-read /xs-cli/t/a",
    "XENSTORED_PATH=/nowhere xenstore-ls",
    "XENSTORED_PATH=/nowhere xenstore-write /xs-cli/t/a",
    "XENSTORED_PATH=/nowhere xenstore-exists -s /xs-cli/t/a",
    "XENSTORED_PATH=/nowhere xenstore-watch -n 0 /xs-cli/t/a",
    "XENSTORED_PATH= XENSTORED_RUNDIR=/nowhere xenstore-exists /xs-cli/t/a",
    "XENSTORED_RUNDIR=${XENSTORED_PATH%/socket}; unset XENSTORED_PATH; export XENSTORED_RUNDIR; \
     xenstore-read /xs-cli/t/a",
];

/// Creates the nodes that lines may change.
pub(crate) fn set_up(client: &Client) -> Result<()> {
    client.rm(TREE)?;
    let every_byte: Vec<u8> = (0..=255).collect();
    let nodes: [(&str, &[u8]); 15] = [
        ("", b""),
        ("/a", b"first"),
        ("/b", b"second"),
        ("/bin", &every_byte),
        ("/empty", b""),
        ("/long", &[b'l'; 1500]),
        ("/c/d/e", b"below"),
        ("/c/d/f", b""),
        ("/c/f", b"8 \\ \" 'quotes'"),
        ("/lone/ly/node", b""),
        ("/full", b"not empty"),
        ("/full/empty/node", b""),
        ("/mine/below", b"the guest's"),
        ("/blind/node", b""),
        ("/closed/node", b""),
    ];
    write(client, TREE, &nodes)?;
    let guests = perms("n5");
    client.set_perms("/xs-cli/t/mine", &guests)?;
    client.set_perms("/xs-cli/t/mine/below", &guests)?;
    client.set_perms("/xs-cli/t/blind", &perms("n0 w5"))?;
    client.set_perms("/xs-cli/t/blind/node", &perms("n0 w5"))
}

/// Creates the nodes that lines only read.
pub(crate) fn set_up_once(client: &Client) -> Result<()> {
    client.rm("/xs-cli")?;
    // The names do not fit into one message.
    let wide = (0..700).map(|at| (format!("/xs-cli/wide/child-{at:03}"), format!("value {at}")));
    client.write_many(wide).into_iter().collect::<Result<()>>()?;
    let deep: String = (1..60).map(|at| format!("/level{at}")).collect();
    client.write(format!("/xs-cli/deep{deep}"), "the bottom of it all")?;

    let every_byte: Vec<u8> = (0..=255).collect();
    write(
        client,
        "/xs-cli/widths",
        &[
            ("/short", b"1"),
            ("/a-name-that-is-rather-long-by-itself/and-another", &[b'x'; 100]),
            (
                "/a-name-that-is-rather-long-by-itself-and-longer-than-most-terminals-are-wide-and/x",
                b"1",
            ),
            ("/binary", &every_byte),
            ("/escaped-beyond-the-width", &[1; 30]),
        ],
    )?;
    for len in 0..90 {
        client.write(format!("/xs-cli/widths/{len}"), vec![b'v'; len])?;
    }
    let open = perms("n0 r5");
    write(
        client,
        "/xs-cli/guest",
        &[("/open", b"1"), ("/closed", b"2"), ("/closed/below", b"3"), ("/after", b"4")],
    )?;
    for path in ["", "/open", "/after"] {
        client.set_perms(format!("/xs-cli/guest{path}"), &open)?;
    }
    client.set_perms("/xs-cli/guest/closed", &perms("n0"))?;
    // Earlier lines may have changed this node of the guest.
    client.write("/local/domain/5/domid", "5")?;
    client.set_perms("/local/domain/5/domid", &open)
}

fn write(client: &Client, below: &str, nodes: &[(&str, &[u8])]) -> Result<()> {
    let pairs = nodes.iter().map(|(name, value)| (format!("{below}{name}"), value));
    client.write_many(pairs).into_iter().collect()
}

fn perms(text: &str) -> Permissions {
    text.parse().expect("valid permissions")
}
