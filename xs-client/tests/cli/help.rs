//! The help, the manual pages, completion, and hints for mistakes.

use std::fs;
use std::process::{Command, Stdio};

use crate::host::{Host, command_names, stderr, stdout, xs};

#[test]
fn manual_contains_all_commands_and_each_has_a_page() {
    let host = Host::new("");
    let man = host.ok("man");
    let commands = command_names(&host.ok("--help"));
    assert!(commands.len() > 25, "{commands:?}");
    let files = host.ok(&format!("man --directory {}", host.dir.display()));
    assert_eq!(files.lines().count(), commands.len() + 1);
    for command in &commands {
        assert!(man.contains(&format!(".SS \"xs {command}\"")), "{command}");
        let page = host.ok(&format!("man {command}"));
        let file = fs::read_to_string(host.dir.join(format!("xs-{command}.1"))).unwrap();
        assert_eq!(page, file, "{command}");
        for section in ["SYNOPSIS", "DESCRIPTION", "\"EXIT STATUS\"", "EXAMPLES", "\"SEE ALSO\""] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{command}: {section}");
        }
        let connects = !["completions", "man", "install-links"].contains(&command.as_str());
        assert_eq!(page.contains("\n.SH ENVIRONMENT\n"), connects, "{command}");
        assert!(page.contains(".TP\nxs ") || page.contains(" xs "), "{command}: {page}");
    }
    let watch = host.ok("man watch");
    assert!(
        watch.contains("xs watch [OPTIONS] <PATH>...") && watch.contains("\\fI<DEPTH>\\fR"),
        "{watch}"
    );
    assert!(stderr(&host.xs("man fly")).contains("no command \"fly\""));
}

#[test]
fn examples_name_existing_commands_and_options() {
    let host = Host::new("");
    for command in command_names(&host.ok("--help")) {
        let help = host.ok(&format!("{command} --help"));
        let examples =
            help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{command}: {help}"));
        for line in examples.lines().filter(|line| !line.starts_with("    ")) {
            let args = line.split("xs ").nth(1).unwrap_or_else(|| panic!("{line}"));
            let options = args.split(' ').filter(|word| word.starts_with("--") && word.len() > 2);
            for option in options {
                assert!(help.contains(option), "{line}");
            }
        }
    }
}

#[test]
fn help_of_write_names_the_limit_of_files() {
    let host = Host::new("");
    let help = host.ok("write --help");
    assert!(help.contains("4095 bytes together with the path"), "{help}");
    let path = "/a";
    let value = "x".repeat(4095 - path.len());
    host.ok_with(&format!("write --from - {path}"), &value);
    let output = host.xs_with(&format!("write --from - {path}"), &format!("{value}x"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn connection_options_are_shown_where_they_apply() {
    let host = Host::new("");
    for command in command_names(&host.ok("--help")) {
        let help = host.ok(&format!("{command} -h"));
        let connects =
            !["completions", "man", "install-links", "serve"].contains(&command.as_str());
        assert_eq!(help.contains("--device"), connects, "{command}: {help}");
    }
}

#[test]
fn connection_options_are_rejected_where_they_have_no_effect() {
    let host = Host::new("");
    for (args, option, command) in [
        ("completions --socket /x bash", "--socket", "completions"),
        ("--socket /x completions bash", "--socket", "completions"),
        ("man --timeout 3", "--timeout", "man"),
        ("--device /x install-links /nowhere", "--device", "install-links"),
        ("serve --socket /x --device /y", "--device", "serve"),
        ("--timeout 3 serve --socket /x", "--timeout", "serve"),
    ] {
        let output = host.xs(args);
        assert_eq!(output.status.code(), Some(2), "{args}: {}", stderr(&output));
        let wanted = format!("the option '{option}' cannot be used with 'xs {command}'");
        assert!(stderr(&output).contains(&wanted), "{args}: {}", stderr(&output));
        assert!(stderr(&output).contains("Usage: xs"), "{args}: {}", stderr(&output));
    }
}

#[test]
fn similar_nodes_are_suggested_for_typing_mistakes() {
    let host = Host::new("/vm/web/name = 1\n/vm/web/memory = 2");
    for (command, hint) in [
        ("read /vm/web/nmae", "hint: did you mean /vm/web/name? `xs list /vm/web` shows"),
        ("read /vn/web/name", "hint: did you mean /vm/web/name? "),
        ("ls /vm/wbe", "hint: did you mean /vm/web? "),
        ("get-perms /vm/web/xyz", "hint: `xs list /vm/web` shows"),
    ] {
        let error = stderr(&host.xs(command));
        assert!(error.contains(hint), "{command}: {error}");
    }
}

#[test]
fn refused_requests_are_explained() {
    let host = Host::new("/open [r0] = 1\n/closed [n0] = 1");
    let guest = |args: &str| stderr(&host.xs(&format!("--socket {} {args}", host.guest())));
    for (error, hint) in [
        (
            guest("write name x"),
            "hint: name belongs to domain 0, which may read and write; domain 5 may read; other \
             guests may neither read nor write; this is domain 5",
        ),
        (
            guest("write /open/new x"),
            "hint: /open belongs to domain 0, which may read and write; other guests may read",
        ),
        (
            guest("write /closed/new x"),
            "hint: this is domain 5, which may not read the permissions: in dom0, `xs get-perms --long \
             /closed/new` shows them, or those of the node above if there is none",
        ),
        (guest("chmod data n7"), "hint: only dom0 can give a node to another domain"),
        (guest("control help"), "hint: only dom0 may do this"),
        (stderr(&host.xs("rm /")), "hint: the root cannot be removed"),
        (stderr(&host.xs("quota set apples 1")), "hint: `xs quota` lists"),
    ] {
        assert!(error.contains(hint), "{error}");
    }
    host.ok("quota set --domain 5 nodes 1");
    let error = guest("write data/more 1");
    assert!(error.contains("in dom0, `xs quota --domain 5` shows which"), "{error}");
    let long = host.ok("get-perms --long /local/domain/5/data");
    assert!(long.starts_with("/local/domain/5/data: belongs to domain 5, "), "{long}");
}

#[test]
fn slash_after_a_path_is_ignored() {
    let host = Host::new("/a/b = 1");
    assert_eq!(host.ok("read /a/b/"), "1\n");
    assert_eq!(host.ok("list /a/"), "b\n");
    assert_eq!(host.xs("list //").status.code(), Some(1));
}

/// Returns the candidates for the last word.
fn candidates(host: &Host, shell: &str, words: &[&str]) -> Vec<String> {
    let mut command = xs();
    command.arg("--").arg("xs").args(words).env("XENSTORED_PATH", host.socket());
    command.env("XS_COMPLETE", shell).env("_CLAP_IFS", "\n");
    command.env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    stdout(output).lines().map(str::to_owned).collect()
}

#[test]
fn keys_and_domains_and_quotas_are_completed() {
    let host = Host::new("/vm/web/name = 1\n/vm/db");
    for shell in ["bash", "zsh", "fish"] {
        assert_eq!(
            candidates(&host, shell, &["read", "/vm/w"]),
            ["/vm/web", "/vm/web/"],
            "{shell}"
        );
        assert_eq!(candidates(&host, shell, &["ls", "-p", "/vm/d"]), ["/vm/db"], "{shell}");
        assert_eq!(candidates(&host, shell, &["domain", "path", ""])[0], "5", "{shell}");
        assert_eq!(candidates(&host, shell, &["quota", "set", "trans"]).len(), 2, "{shell}");
        let commands = candidates(&host, shell, &["wa"]);
        assert!(
            commands[0].starts_with("watch") && commands[1].starts_with("wait"),
            "{commands:?}"
        );
    }
    // The guest has another home.
    let words = ["--socket", &host.guest(), "read", "nam"];
    assert_eq!(candidates(&host, "bash", &words), ["name"]);
}

#[test]
fn completion_is_silent_without_a_daemon() {
    let mut host = Host::new("");
    host.stop();
    assert!(candidates(&host, "bash", &["read", "/"]).iter().all(|word| !word.starts_with('/')));
}

#[test]
fn completion_gives_up_on_a_daemon_that_does_not_answer() {
    let host = Host::new("");
    let path = host.dir.join("mute");
    // The connections are accepted by the kernel, and nothing reads from them.
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let words = ["--socket", path.to_str().unwrap(), "read", "/"];
    assert!(candidates(&host, "bash", &words).iter().all(|word| !word.starts_with('/')));
}

#[test]
fn completion_scripts_work_in_their_shells() {
    let host = Host::new("/vm/web/name = 1");
    let bin = host.dir.join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_xs"), bin.join("xs")).unwrap();
    let bash = "source <(xs completions bash); COMP_WORDS=(xs read /vm/w); COMP_CWORD=2; \
                COMP_TYPE=9; _clap_complete_xs xs /vm/w read; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let fish = "xs completions fish | source; complete -C 'xs read /vm/w'";
    let zsh = "autoload -U compinit; compinit -u -D; source <(xs completions zsh); \
               functions _clap_dynamic_completer_xs >/dev/null && echo /vm/web";
    for (shell, args, script) in [
        ("bash", vec!["-c"], bash),
        ("fish", vec!["-N", "-c"], fish),
        ("zsh", vec!["-f", "-c"], zsh),
    ] {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(shell);
        command.args(args).arg(script).env("PATH", path).env("XENSTORED_PATH", host.socket());
        let Ok(output) = command.stdin(Stdio::null()).env("HOME", &host.dir).output() else {
            println!("SKIPPED: {shell} is not installed");
            continue;
        };
        let error = stderr(&output);
        let words = stdout(output);
        assert!(words.lines().any(|word| word.trim() == "/vm/web"), "{shell}: {words} {error}");
    }
}
