//! Candidates for shells: the paths and domain IDs that the daemon has at the moment, and the names
//! of quotas.

use std::env;
use std::ffi::{OsStr, OsString};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Arg, Command, ValueHint};
use clap_complete::CompletionCandidate;
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::CompleteEnv;
use xs_client::{Client, Quota};

use crate::commands::domain;
use crate::connection::ConnectionArgs;
use crate::home;

/// The variable by which the scripts of `xs completions` ask for candidates.
pub(crate) const VARIABLE: &str = "XS_COMPLETE";

/// The longest time for which a shell waits. After that, there are no candidates.
const DEADLINE: Duration = Duration::from_millis(200);

/// The number of nodes that are checked for children.
const MAX_NODES: usize = 500;

/// Prints candidates and ends the program, if a shell asks for them.
pub(crate) fn answer_shell(command: fn() -> Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// Adds completers to the arguments of a command and its subcommands, by the names of their values.
pub(crate) fn add_completers(command: Command) -> Command {
    command.mut_args(add_completer).mut_subcommands(add_completers)
}

fn add_completer(arg: Arg) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
    let completer = match name.unwrap_or_default().as_str() {
        "PATH" | "SOURCE" | "DESTINATION" => paths,
        "DOMID" | "TARGET" => domids,
        "NAME" => quotas,
        "FILE" | "DUMP" => return arg.value_hint(ValueHint::FilePath),
        "DIRECTORY" => return arg.value_hint(ValueHint::DirPath),
        _ => return arg,
    };
    arg.add(ArgValueCompleter::new(completer))
}

/// Returns the nodes whose paths begin with `current`. A node with children appears a second time,
/// with a slash at the end.
fn paths(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str().map(str::to_owned) else { return Vec::new() };
    in_time(move |client| paths_of(client, &current))
}

/// Returns the paths of nodes that begin with `current`; see [`paths`].
pub(crate) fn paths_of(client: &Client, current: &str) -> Option<Vec<String>> {
    let (parent, name) = match current.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        // Relative to the home of the domain.
        None => (".", current),
    };
    let listed = match parent {
        "." => client.directory(home::path(client).ok()?),
        parent => client.directory(parent),
    };
    let prefix = match parent {
        "." => String::new(),
        "/" => "/".to_owned(),
        parent => format!("{parent}/"),
    };
    let names = listed.ok()?.into_iter().filter(|child| child.starts_with(name));
    let mut paths: Vec<_> = names.map(|name| format!("{prefix}{name}")).collect();
    paths.sort();
    let children = client.directory_many(paths.iter().take(MAX_NODES));
    let has_children: Vec<_> =
        children.into_iter().map(|names| names.is_ok_and(|names| !names.is_empty())).collect();
    let with_slash = paths.iter().zip(has_children).filter(|(_, has_children)| *has_children);
    let with_slash: Vec<_> = with_slash.map(|(path, _)| format!("{path}/")).collect();
    paths.extend(with_slash);
    paths.sort();
    Some(paths)
}

fn domids(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy().into_owned();
    in_time(move |client| {
        let domids = domain::domids(client).ok()?;
        let numbers = domids.into_iter().map(|domid| domid.to_string());
        Some(numbers.filter(|number| number.starts_with(&current)).collect())
    })
}

fn quotas(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let names = Quota::KNOWN.iter().map(Quota::name);
    names.filter(|name| name.starts_with(&*current)).map(CompletionCandidate::new).collect()
}

/// Asks the daemon for candidates. Returns none if there is no daemon, or if it takes too long.
fn in_time(
    ask: impl FnOnce(&Client) -> Option<Vec<String>> + Send + 'static,
) -> Vec<CompletionCandidate> {
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let connection = ConnectionArgs { timeout: Some(DEADLINE), ..named(env::args_os()) };
        let answer = connection.open().ok().and_then(|client| ask(&client));
        // The program may have ended.
        let _ = sender.send(answer.unwrap_or_default());
    });
    let answer = answer.recv_timeout(DEADLINE).unwrap_or_default();
    answer.into_iter().map(CompletionCandidate::new).collect()
}

/// Returns the socket or the device in a command line that need not be complete.
fn named(args: impl Iterator<Item = OsString>) -> ConnectionArgs {
    let mut connection = ConnectionArgs::default();
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        let (option, value) = match arg.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let target = match option.as_str() {
            "--socket" => &mut connection.socket,
            "--device" => &mut connection.device,
            _ => continue,
        };
        *target = value.or_else(|| args.next()).map(Into::into);
    }
    connection
}

#[cfg(test)]
mod tests {
    use xs_client::DomId;
    use xs_transport::mock::Xenstored;

    use super::*;

    #[test]
    fn paths_with_children_have_a_slash_besides() {
        let xenstored = Xenstored::new();
        xenstored.seed("/vm/1/name = a\n/vm/12\n/local/domain/0/data/x = 1").unwrap();
        let client = Client::from_transport(xenstored.connect(DomId::DOM0));
        let paths = |current| paths_of(&client, current).unwrap_or_default();
        assert_eq!(paths("/v"), ["/vm", "/vm/"]);
        assert_eq!(paths("/vm/1"), ["/vm/1", "/vm/1/", "/vm/12"]);
        assert_eq!(paths("/vm/1/"), ["/vm/1/name"]);
        assert_eq!(paths("da"), ["data", "data/"]);
        assert_eq!(paths("data/"), ["data/x"]);
        assert_eq!(paths("/no/such/"), [""; 0]);
    }

    #[test]
    fn connection_is_found_in_incomplete_command_lines() {
        let line = ["xs", "--", "xs", "--socket", "/s", "--device=/d", "read", "--socket"];
        let found = named(line.iter().map(OsString::from));
        assert_eq!((found.socket, found.device), (None, Some("/d".into())));
        let line = ["xs", "read", "--socket", "/s", "/a"];
        assert_eq!(named(line.iter().map(OsString::from)).socket, Some("/s".into()));
    }
}
