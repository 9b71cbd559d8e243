//! Commands whose output is the same on the in-memory and on genuine daemons. The genuine ones are
//! those in `XS_TEST_C_SOCKET`, `XS_TEST_C_GUEST5`, `XS_TEST_OX_SOCKET` and `XS_TEST_OX_GUEST5`.

use std::fs;

use crate::host::{Host, stderr, stdout};

/// Some nodes. Daemons list children in orders of their own, so no node has several.
const SEED: &str =
    "/NAME [n0 r5] = \"1\"\n/NAME/a [n5] = \"x\\ny\"\n/NAME/a/b [b0] = \"gr\\xc3\\xbc\\xff\"\n";

/// Runs a test with the nodes of [`SEED`] on every daemon, below a node of its own.
fn on_every_daemon(name: &str, test: impl Fn(&Host)) {
    for host in Host::on_every_daemon(&format!("/{name}"), &SEED.replace("NAME", name)) {
        test(&host);
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn find_prints_nodes_that_meet_all_conditions() {
    on_every_daemon("cli-find", |host| {
        for (conditions, found) in [
            ("", &["/cli-find", "/cli-find/a", "/cli-find/a/b"][..]),
            ("-n [ab]", &["/cli-find/a", "/cli-find/a/b"]),
            ("-n [ab] -o 5", &["/cli-find/a"]),
            ("-v x*", &["/cli-find/a"]),
            ("--perm r5", &["/cli-find", "/cli-find/a", "/cli-find/a/b"]),
            ("--perm b5", &["/cli-find/a", "/cli-find/a/b"]),
            ("--perm n7", &["/cli-find", "/cli-find/a"]),
            ("-d 1", &["/cli-find", "/cli-find/a"]),
        ] {
            let args = format!("find /cli-find {conditions}");
            assert_eq!(lines(&host.ok(args.trim_end())), found, "{conditions}");
        }
        let long = host.ok("find -l /cli-find -n a");
        assert_eq!(long, "/cli-find/a [n5] = \"x\\ny\"\n");
        let json = host.ok("find --json /cli-find -n b");
        assert_eq!(
            json,
            "{\"path\": \"/cli-find/a/b\", \"base64\": \"Z3LDvP8=\", \"perms\": [\"b0\"]}\n"
        );
        assert_eq!(host.xs("find /cli-find -n nothing").status.code(), Some(1));
        let missing = host.xs("find /cli-find/no");
        assert!(stderr(&missing).contains("/cli-find/no"), "{}", stderr(&missing));
    });
}

#[test]
fn copies_have_the_values_and_permissions_of_the_originals() {
    on_every_daemon("cli-cp", |host| {
        host.ok("cp /cli-cp/a /cli-cp/c/d");
        assert_eq!(host.ok("diff /cli-cp/a /cli-cp/c/d"), "");
        assert_eq!(host.ok("get-perms /cli-cp/c/d /cli-cp/c/d/b"), "n5\nb0\n");
        host.ok("write /cli-cp/c/d/other 1");
        let refused = host.xs("cp /cli-cp/a /cli-cp/c/d");
        assert!(stderr(&refused).contains("/cli-cp/c/d exists already"), "{}", stderr(&refused));
        host.ok("cp --force /cli-cp/a /cli-cp/c/d");
        assert_eq!(host.ok("diff /cli-cp/a /cli-cp/c/d"), "");
        for args in ["cp /cli-cp /cli-cp/x", "mv -f /cli-cp/a /cli-cp", "cp -f /cli-cp /cli-cp"] {
            assert_eq!(host.xs(args).status.code(), Some(1), "{args}");
        }
    });
}

#[test]
fn moved_nodes_are_gone_from_their_old_path() {
    on_every_daemon("cli-mv", |host| {
        let before = host.ok("dump /cli-mv/a");
        host.ok("mv /cli-mv/a /cli-mv/z");
        assert_eq!(host.xs("exists /cli-mv/a").status.code(), Some(1));
        assert_eq!(host.ok("dump /cli-mv/z"), before.replace("/cli-mv/a", "/cli-mv/z"));
        // A move that fails changes nothing.
        let output = host.xs("mv /cli-mv/no /cli-mv/y");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(host.xs("exists /cli-mv/y").status.code(), Some(1));
    });
}

#[test]
fn diff_names_nodes_that_one_side_has_or_that_differ() {
    on_every_daemon("cli-diff", |host| {
        let file = host.dir.join("dump");
        let dump = host.ok("dump /cli-diff");
        fs::write(&file, &dump).unwrap();
        let with_file = format!("diff --file {}", file.display());
        assert_eq!(host.ok(&with_file), "");
        host.ok("write /cli-diff/a 2");
        host.ok("chmod /cli-diff/a/b n0");
        host.ok("write /cli-diff/a/c 3");
        let output = host.xs(&with_file);
        assert_eq!(output.status.code(), Some(1));
        let wanted = [
            "- /cli-diff/a [n5] = \"x\\ny\"",
            "+ /cli-diff/a [n5] = \"2\"",
            "- /cli-diff/a/b [b0] = \"gr\\xc3\\xbc\\xff\"",
            "+ /cli-diff/a/b [n0] = \"gr\\xc3\\xbc\\xff\"",
            "+ /cli-diff/a/c [n5] = \"3\"",
        ];
        assert_eq!(lines(&stdout(output)), wanted);
        let values = stdout(host.xs(&format!("{with_file} --values")));
        let wanted =
            ["- /cli-diff/a = \"x\\ny\"", "+ /cli-diff/a = \"2\"", "+ /cli-diff/a/c = \"3\""];
        assert_eq!(lines(&values), wanted);
        let json = stdout(host.xs("diff --json /cli-diff/a /cli-diff/a/b"));
        let wanted = r#"{"path": "/c", "old": {"path": "/cli-diff/a/c", "value": "3", "perms": ["n5"]}, "new": null}"#;
        assert_eq!(lines(&json).last(), Some(&wanted));
        // Two dumps need no daemon.
        let output = host.xs(&format!("--socket /nowhere {with_file} --file {}", file.display()));
        assert!(output.status.success(), "{}", stderr(&output));
    });
}

#[test]
fn edit_changes_creates_and_removes_nodes() {
    on_every_daemon("cli-edit", |host| {
        let edit = |script: &str| {
            let mut command = host.command("edit /cli-edit");
            command.env_remove("VISUAL").env("EDITOR", format!("sed -i '{script}'"));
            command.output().unwrap()
        };
        let output = edit("2a /cli-edit/c/d [n7] = 4\ns/x.ny/new/\n/a.b /d");
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(stdout(output), "3 nodes changed\n");
        assert_eq!(host.ok("read /cli-edit/a /cli-edit/c/d"), "new\n4\n");
        assert_eq!(host.ok("get-perms /cli-edit/a /cli-edit/c/d"), "n5\nn7\n");
        assert_eq!(host.xs("exists /cli-edit/a/b").status.code(), Some(1));
        assert_eq!(stdout(edit("s/new/new/")), "no changes\n");
        for (script, error) in [
            ("$a /x [wrong", "line 6: invalid permissions"),
            ("$a /other = 1", "edit: /other is not below /cli-edit"),
            ("/edit.c /d", "edit: /cli-edit/c is removed, but /cli-edit/c/d below it is not"),
        ] {
            let output = edit(script);
            assert_eq!(output.status.code(), Some(1), "{script}");
            let message = stderr(&output);
            assert!(
                message.contains(error) && message.contains("nothing was changed"),
                "{message}"
            );
        }
        assert_eq!(host.ok("read /cli-edit/a"), "new\n");
    });
}

#[test]
fn guest_edits_the_value_of_a_node_that_it_does_not_own() {
    on_every_daemon("cli-shared", |host| {
        host.ok("chmod /cli-shared/a n0 b5");
        let mut command = host.command("edit /cli-shared/a");
        command.env("XENSTORED_PATH", host.guest());
        let editor = command.env_remove("VISUAL").env("EDITOR", "sed -i 's/\"[^\"]*\"/\"new\"/'");
        let output = editor.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(host.ok("read /cli-shared/a"), "new\n");
        assert_eq!(host.ok("get-perms /cli-shared/a"), "n0 b5\n");
    });
}

#[test]
fn edit_conflicts_with_changes_by_other_clients() {
    on_every_daemon("cli-conflict", |host| {
        // The editor is the other client.
        let xs = format!("{} write /cli-conflict/a other", env!("CARGO_BIN_EXE_xs"));
        let script = format!("f() {{ {xs}; sed -i s/x.ny/new/ \"$1\"; }}; f");
        let mut command = host.command("edit /cli-conflict");
        let output = command.env_remove("VISUAL").env("EDITOR", script).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let message = stderr(&output);
        assert!(message.contains("another client has changed /cli-conflict/a"), "{message}");
        assert_eq!(host.ok("read /cli-conflict/a"), "other\n");
        let hint = message.split("the edited text is in ").nth(1).unwrap();
        let (kept, hint) = hint.split_once(", and `VISUAL='").unwrap();
        assert!(fs::read_to_string(kept).unwrap().contains("/cli-conflict/a [n5] = \"new\""));
        // The command in the hint makes the change.
        let (editor, args) = hint.split_once("' xs ").unwrap();
        let mut command = host.command(args.split_once('`').unwrap().0);
        assert!(command.env("VISUAL", editor).output().unwrap().status.success());
        assert_eq!(host.ok("read /cli-conflict/a"), "new\n");
        fs::remove_file(kept).unwrap();
    });
}

#[test]
fn values_can_come_from_files() {
    on_every_daemon("cli-from", |host| {
        let value = "a\\nb\nc\n";
        host.ok_with("write --from - /cli-from/a", value);
        assert_eq!(host.ok("read --raw /cli-from/a"), value);
        let file = host.dir.join("value");
        fs::write(&file, "from a file").unwrap();
        host.ok(&format!("write /cli-from/a --from {}", file.display()));
        assert_eq!(host.ok("read /cli-from/a"), "from a file\n");
        for args in ["write --from - /a /b", "write /a", "write /a 1 /b"] {
            assert_eq!(host.xs(args).status.code(), Some(2), "{args}");
        }
        let output = host.xs("write --from /no/such/file /cli-from/a");
        assert!(stderr(&output).contains("cannot read /no/such/file"), "{}", stderr(&output));
    });
}

#[test]
fn json_has_an_object_per_node() {
    on_every_daemon("cli-json", |host| {
        let read = host.ok("read --json /cli-json /cli-json/a/b");
        let wanted = [
            r#"{"path": "/cli-json", "value": "1"}"#,
            r#"{"path": "/cli-json/a/b", "base64": "Z3LDvP8="}"#,
        ];
        assert_eq!(lines(&read), wanted);
        let list = host.ok("list --json /cli-json /cli-json/a/b");
        let wanted = [
            r#"{"path": "/cli-json", "children": ["a"]}"#,
            r#"{"path": "/cli-json/a/b", "children": []}"#,
        ];
        assert_eq!(lines(&list), wanted);
        let perms = host.ok("get-perms --json /cli-json");
        assert_eq!(perms, "{\"path\": \"/cli-json\", \"perms\": [\"n0\", \"r5\"]}\n");
        let dump = host.ok("dump --json /cli-json/a");
        assert_eq!(lines(&dump)[0], r#"{"path": "/cli-json/a", "value": "x\ny", "perms": ["n5"]}"#);
    });
}

#[test]
fn depth_limits_the_listing() {
    on_every_daemon("cli-depth", |host| {
        assert_eq!(host.ok("ls -f -d 1 /cli-depth"), "/cli-depth/a = \"x\\ny\"\n");
        assert_eq!(host.ok("ls -d 0 /cli-depth"), "");
        assert_eq!(lines(&host.ok("ls --depth 2 /cli-depth")).len(), 2);
    });
}

#[test]
fn domains_are_listed_and_introduced_and_released() {
    on_every_daemon("cli-domain", |host| {
        let list = host.ok("domain list");
        let row = list.lines().find(|line| line.trim_start().starts_with("5 ")).unwrap();
        assert!(list.starts_with("DOMID  INTRODUCED  NAME\n") && row.contains("yes"), "{list}");
        let json = host.ok("domain list --json");
        assert!(json.contains("{\"domid\": 5, \"introduced\": true, \"name\": "), "{json}");
        assert_eq!(host.ok("domain path 5"), "/local/domain/5\n");
        let refused = host.xs("domain release 4000");
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).starts_with("xs: domain release: "), "{}", stderr(&refused));
        let guest = format!("--socket {} domain resume 5", host.guest());
        assert!(stderr(&host.xs(&guest)).contains("EACCES"), "{}", stderr(&host.xs(&guest)));
    });
    // Genuine daemons keep their guests for other tests.
    let host = Host::new("");
    host.ok("domain release 5");
    assert!(host.ok("domain list --json").contains("{\"domid\": 5, \"introduced\": false"));
    host.ok("domain introduce 5 1 2");
    host.ok("domain resume 5");
    assert!(host.ok("domain list --json").contains("{\"domid\": 5, \"introduced\": true"));
}

#[test]
fn quotas_have_units_and_meanings_on_every_daemon() {
    on_every_daemon("cli-quota", |host| {
        let of_domain = host.ok("quota --domain 5");
        let mut lines = of_domain.lines();
        assert!(lines.next().unwrap().starts_with("QUOTA "), "{of_domain}");
        let nodes: Vec<_> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!((nodes[0], nodes[3]), ("nodes", "nodes"), "{of_domain}");
        let used: u32 = nodes[1].parse().unwrap();
        assert!(used > 0 && nodes[2].parse::<u32>().unwrap() >= 1000, "{of_domain}");
        let unknown = host.xs("quota --domain 5 apples");
        assert!(
            stderr(&unknown).contains("no quota \"apples\"\nhint: it has nodes"),
            "{}",
            stderr(&unknown)
        );
        let all = host.xs("quota get watches --json");
        match all.status.success() {
            true => assert_eq!(
                stdout(all),
                "{\"name\": \"watches\", \"limit\": 128, \"unit\": \"watches\"}\n"
            ),
            false => assert!(stderr(&all).contains("oxenstored.conf"), "{}", stderr(&all)),
        }
    });
    let host = Host::new("");
    host.ok("quota set --domain 5 nodes 77");
    assert!(host.ok("quota --domain 5 nodes --json").contains("\"limit\": 77"));
    assert!(host.ok("quota nodes --json").contains("\"limit\": 1000"));
    host.ok("quota set nodes 78");
    assert!(host.ok("quota nodes --json").contains("\"limit\": 78"));
    let old = Host::with("", &["--like", "c417"]);
    old.ok("quota set nodes 79");
    assert!(old.ok("quota nodes --json").contains("\"limit\": 79"));
    let refused = stderr(&old.xs("quota set -d 5 nodes 79"));
    assert!(refused.contains("which need Xen 4.22"), "{refused}");
}

#[test]
fn features_are_explained_or_missing() {
    on_every_daemon("cli-features", |host| {
        let output = host.xs("features");
        match output.status.success() {
            true => assert!(stdout(output).contains("watch-depth       yes        a watch can be")),
            false => {
                assert!(stderr(&output).contains("which needs Xen 4.21"), "{}", stderr(&output))
            }
        }
    });
    let json = Host::new("").ok("features --json --domain 5");
    assert!(json.contains("{\"name\": \"watch-depth\", \"available\": true}\n"), "{json}");
}

#[test]
fn info_and_ping_have_json() {
    on_every_daemon("cli-info", |host| {
        let info = host.ok("info --json");
        for part in
            ["{\"connection\": ", "\"daemon\": ", "\"privileged\": true", "\"round_trip_us\": "]
        {
            assert!(info.contains(part), "{info}");
        }
        assert_eq!(info.lines().count(), 1);
        let ping = host.ok("ping -n 2 --json");
        assert!(lines(&ping).iter().all(|line| line.starts_with("{\"round_trip_us\": ")), "{ping}");
    });
}
