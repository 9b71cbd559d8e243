//! The blocking client and the futures offer the same, except for the items that are listed here.
//!
//! Both sides come from the list of the public API.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A name, and why it is an exception.
type Exceptions = &'static [(&'static str, &'static str)];

/// Types that both sides share, or that need no counterpart.
const SHARED: Exceptions = &[
    ("Builder", "a program opens a blocking client first"),
    ("Error", "a value"),
    ("EventSource", "for event loops, which use no futures"),
    ("Node", "a value"),
    ("Pending", "a future itself"),
    ("Retries", "a value"),
    ("WatchEvent", "a value"),
    ("WatchToken", "a value"),
];

/// Methods of the blocking client only.
const BLOCKING_ONLY: Exceptions = &[
    ("Client::builder", "a program opens a blocking client first"),
    ("Client::event_source", "for event loops, which use no futures"),
    ("Client::from_transport", "a program opens a blocking client first"),
    ("Client::open", "a program opens a blocking client first"),
    ("Client::open_at", "a program opens a blocking client first"),
    ("Client::watch_set_with", "concerns callbacks, which run on a thread"),
    ("Client::watch_stop", "concerns callbacks, which run on a thread"),
    ("Client::watch_with", "concerns callbacks, which run on a thread"),
    ("Tree::start", "each future is an operation that has been started when it was polled"),
    (
        "Watch::try_next",
        "streams have a method of this name with another meaning; poll once instead",
    ),
    ("WatchBuilder::watch_with", "concerns callbacks, which run on a thread"),
    ("WatchSet::try_next", "as for Watch::try_next"),
];

/// Methods of the futures only.
const FUTURES_ONLY: Exceptions = &[
    ("Client::blocking", "leads to the other side"),
    ("Client::on_smol", "concerns runtimes"),
    ("Client::on_thread", "concerns runtimes"),
    ("Client::on_tokio", "concerns runtimes"),
    ("Client::with_reactor", "concerns runtimes"),
    ("Client::with_smol_driver", "concerns runtimes"),
    ("Client::with_tokio_driver", "concerns runtimes"),
    ("Walk::next", "iterators have it from their trait, streams only from further crates"),
];

/// Methods whose arguments or results differ.
const DIFFERENT: Exceptions = &[
    ("Client::transaction", "the closure returns a future, which cannot borrow the transaction"),
    (
        "Client::transaction_with",
        "the closure returns a future, which cannot borrow the transaction",
    ),
    ("Client::try_transaction", "as for Client::transaction"),
    ("Client::try_transaction_with", "as for Client::transaction"),
    ("Tree::walk", "the stream keeps the tree"),
];

/// The public API of one side.
#[derive(Default)]
struct Side {
    types: BTreeSet<String>,
    /// The types that are iterators or streams.
    sequences: BTreeSet<String>,
    /// The signatures of all methods that are not of a trait, by `Type::method`.
    methods: BTreeMap<String, String>,
}

impl Side {
    /// Reads the items below a module.
    fn read(api: &str, module: &str, other: &str) -> Self {
        let mut side = Side::default();
        let mut is_trait = false;
        for line in api.lines() {
            let item = line.strip_prefix("#[non_exhaustive] ").unwrap_or(line);
            if item.starts_with("impl") {
                is_trait = item.contains(" for ");
                let sequence = ["iterator::Iterator for ", "stream::Stream for "];
                let name = sequence.iter().find_map(|of| item.split_once(of));
                side.sequences.extend(name.and_then(|(_, name)| type_below(name, module, other)));
            } else if let Some(name) = item.strip_prefix("pub struct ") {
                side.types.extend(type_below(name, module, other));
            } else if let (false, Some((name, signature))) = (is_trait, method(item, module, other))
            {
                side.methods.insert(name, signature);
            }
        }
        side
    }
}

/// Returns the name of a type in a module, without generics, unless it is in a module below or in
/// `other`.
fn type_below(path: &str, module: &str, other: &str) -> Option<String> {
    let name = path.strip_prefix(module)?;
    if !other.is_empty() && path.starts_with(other) {
        return None;
    }
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    let is_type = name.starts_with(char::is_uppercase);
    is_type.then(|| name[..end].to_owned())
}

/// Returns the name of a method and its signature, as if it were blocking.
fn method(item: &str, module: &str, other: &str) -> Option<(String, String)> {
    let item = item.strip_prefix("pub ")?;
    let item = item.strip_prefix("async ").unwrap_or(item).strip_prefix("fn ")?;
    let name = type_below(item, module, other)?;
    let rest = &item[module.len() + name.len()..];
    // The type may have lifetimes or parameters.
    let rest = if rest.starts_with('<') { &rest[rest.find(">::")? + 1..] } else { rest };
    let rest = rest.strip_prefix("::")?;
    let end = rest.find(['(', '<'])?;
    let signature = rest[end..].replace("xs_client::futures::", "xs_client::");
    let future = "impl core::future::future::Future<Output = ";
    let signature = match signature.split_once(future) {
        Some((before, output)) => format!("{before}{}", output.strip_suffix('>')?),
        None => signature,
    };
    Some((format!("{name}::{}", &rest[..end]), signature))
}

/// Checks that exactly the exceptions differ.
fn check(found: BTreeSet<String>, exceptions: Exceptions, what: &str) {
    let listed: BTreeSet<_> = exceptions.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "{what}, and no reason is given: {missing:#?}");
    let unused: Vec<_> = listed.difference(&found).collect();
    assert!(unused.is_empty(), "no longer exceptions ({what}): {unused:#?}");
}

fn difference<T>(one: &BTreeMap<String, T>, other: &BTreeMap<String, T>) -> BTreeSet<String> {
    one.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
}

#[test]
fn blocking_client_and_futures_offer_the_same() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/xs-client.txt");
    let api = fs::read_to_string(path).unwrap();
    let mut blocking = Side::read(&api, "xs_client::", "xs_client::futures::");
    let futures = Side::read(&api, "xs_client::futures::", "");
    assert!(blocking.methods.len() > 60, "{:#?}", blocking.methods.keys());

    let types = blocking.types.difference(&futures.types).cloned().collect();
    check(types, SHARED, "types without counterpart");
    let is_shared =
        |name: &String| SHARED.iter().any(|(shared, _)| name.starts_with(&format!("{shared}::")));
    blocking.methods.retain(|name, _| !is_shared(name));
    let mut tasks = futures.methods;
    tasks.retain(|name, _| !name.starts_with("Driver::"));

    check(
        difference(&blocking.methods, &tasks),
        BLOCKING_ONLY,
        "methods only of the blocking client",
    );
    check(difference(&tasks, &blocking.methods), FUTURES_ONLY, "methods only of the futures");
    let different = blocking
        .methods
        .iter()
        .filter(|(name, signature)| tasks.get(*name).is_some_and(|other| other != *signature));
    check(different.map(|(name, _)| name.clone()).collect(), DIFFERENT, "different signatures");
    let sequences = blocking.sequences.difference(&futures.sequences).collect::<Vec<_>>();
    assert!(sequences.is_empty(), "iterators that are no streams: {sequences:?}");
}
