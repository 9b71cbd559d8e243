//! Examples for the help and the manual pages.

/// A command line and its purpose.
pub(crate) struct Example {
    /// The command that the example belongs to.
    pub(crate) command: &'static str,
    pub(crate) line: &'static str,
    pub(crate) text: &'static str,
}

const fn example(command: &'static str, line: &'static str, text: &'static str) -> Example {
    Example { command, line, text }
}

/// Returns the examples of a command.
pub(crate) fn of(command: &str) -> impl Iterator<Item = &'static Example> {
    EXAMPLES.iter().filter(move |example| example.command == command)
}

/// Every command has an example.
const EXAMPLES: &[Example] = &[
    example(
        "ls",
        "xs ls -p /local/domain/5",
        "List the nodes of domain 5 with values and permissions.",
    ),
    example("ls", "xs ls --depth 1 /local/domain", "List the domains, but not their nodes."),
    example("ls", "xs ls --json /vm", "Print a subtree as one JSON object."),
    example("read", "xs read /local/domain/5/name", "Print the name of domain 5."),
    example("read", "xs read --raw data/seed > seed", "Save the bytes of a value to a file."),
    example("list", "xs list /local/domain", "Print the IDs of all domains."),
    example("find", "xs find / --owner 5", "Find all nodes that belong to domain 5."),
    example("find", "xs find /local -n state -v 4", "Find devices in state 4, which is Connected."),
    example("find", "xs find / --perm w5", "Find all nodes that domain 5 may write."),
    example("exists", "xs exists /vm/1 || echo gone", "Test whether a node exists."),
    example(
        "get-perms",
        "xs get-perms --long /vm",
        "Show in words who owns a node and who has access to it.",
    ),
    example(
        "write",
        "xs write data/os Debian data/cpus 4",
        "Set two values in the home of this domain, in one transaction.",
    ),
    example(
        "write",
        "xs write /tool/offset -5 /tool/name -- -x",
        "Write values that start with a hyphen. Only negative numbers may stand before the --.",
    ),
    example("write", "xs write --from seed data/seed", "Write the bytes of a file."),
    example(
        "edit",
        "EDITOR=nano xs edit /vm/1",
        "Change a subtree in an editor, in one transaction.",
    ),
    example(
        "edit",
        "EDITOR='sed -i s/old/new/' xs edit /vm/1/name",
        "Change a part of a value without an interactive editor.",
    ),
    example("mkdir", "xs mkdir /tool/mine", "Create an empty node."),
    example("rm", "xs rm /tool/mine", "Remove a node and all nodes below it."),
    example("cp", "xs cp /vm/1 /vm/2", "Copy a subtree with its permissions."),
    example("mv", "xs mv /tool/old /tool/new", "Rename a node."),
    example("chmod", "xs chmod /tool/mine n0 r5", "Let dom0 own a node, and domain 5 read it."),
    example(
        "transaction",
        "printf 'exists /vm/1\\nwrite /vm/1/state up\\n' | xs transaction",
        "Set a value only if a node exists.",
    ),
    example(
        "watch",
        "xs watch --values --timestamps /local/domain/5",
        "Follow the changes below a node. Xenstore keeps no history: earlier changes are lost.",
    ),
    example("watch", "xs watch --json --values /vm | jq .path", "Pass changes to another program."),
    example(
        "watch",
        "xs watch /vm --exec 'logger \"$XS_KEY: $XS_NEW\"'",
        "Run a command for each change.",
    ),
    example(
        "watch",
        "xs watch /vm --exec ./sync --exec-timeout 60",
        "The same with a program that must not run for more than a minute.",
    ),
    example(
        "wait",
        "xs wait -T 60 /local/domain/5/control/shutdown ''",
        "Wait until domain 5 acknowledges a shutdown request, for at most a minute.",
    ),
    example("dump", "xs dump /vm > vm", "Save a subtree to a file."),
    example("restore", "xs restore vm", "Restore the nodes from this file."),
    example(
        "diff",
        "xs dump /local/domain/5 > before; sleep 60; xs diff --file before",
        "Show what has changed below a node within a minute.",
    ),
    example("diff", "xs diff /vm/1 /vm/2", "Compare two subtrees."),
    example("info", "xs info", "Show how xs finds the daemon, and which daemon it is."),
    example("ping", "xs ping -n 5", "Measure five round trips."),
    example("domain", "xs domain list", "List the domains that the daemon knows."),
    example("quota", "xs quota --domain 5", "Show the limits of domain 5, and what it uses."),
    example("quota", "xs quota set --domain 5 nodes 2000", "Raise a limit of one domain."),
    example("features", "xs features", "Show which features the daemon has."),
    example("control", "xs control help", "List the control commands of the daemon."),
    example(
        "serve",
        "xs serve --socket /tmp/xs --guest 5=/tmp/xs-5",
        "Run a daemon without Xen. Connect with --socket /tmp/xs, or as domain 5 with --socket /tmp/xs-5.",
    ),
    example(
        "proxy",
        "xs proxy --listen /tmp/p",
        "Print the conversation of all clients that connect to /tmp/p.",
    ),
    example(
        "proxy",
        "xs proxy --listen /tmp/p --record failing.txt",
        "Record what a program does. Start the program with XENSTORED_PATH=/tmp/p, as in \
         `XENSTORED_PATH=/tmp/p xl list`.",
    ),
    example(
        "proxy",
        "xs proxy --listen /tmp/p --split 1 --slow 10",
        "See how a client copes with a slow daemon.",
    ),
    example(
        "completions",
        "source <(xs completions bash)",
        "Complete commands and paths in this shell. Put the line in ~/.bashrc for all shells.",
    ),
    example(
        "completions",
        "source <(xs completions zsh)",
        "The same for zsh. Put the line in ~/.zshrc, below `autoload -U compinit && compinit`.",
    ),
    example(
        "completions",
        "xs completions fish | source",
        "The same for fish. Put the line in ~/.config/fish/config.fish.",
    ),
    example("man", "xs man watch | man -l -", "Show the page of a command."),
    example("man", "xs man --directory /usr/local/share/man/man1", "Install all pages."),
    example(
        "install-links",
        "xs install-links /usr/local/bin",
        "Let xs replace the xenstore-* tools.",
    ),
    example("shell", "xs shell", "Start a prompt at the home of this domain."),
    example("top", "xs top /local/domain", "Watch the nodes of all domains."),
];
