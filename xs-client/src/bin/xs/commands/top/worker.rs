//! The thread that sends the requests of the view, so that a slow daemon does not delay keys.

use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread;

use xs_client::{Client, DomId, Node, Permissions};

use super::Input;
use crate::error::describe;
use crate::quotas::{self, Number};

/// A request of the view.
#[derive(Debug)]
pub(super) enum Job {
    /// Read a node and some levels below it.
    Load {
        path: String,
        levels: usize,
    },
    /// Read nodes again.
    Refresh(Vec<String>),
    Write {
        path: String,
        value: Vec<u8>,
    },
    /// Read a domain's use of its quotas.
    Usage(DomId),
}

/// The answer to a [`Job`].
#[derive(Debug)]
pub(super) enum Answer {
    /// Some of the nodes to load.
    Loaded(Vec<Loaded>),
    /// The nodes to refresh: `None` for a node that does not exist.
    Refreshed(Vec<(String, Option<Loaded>)>),
    Written {
        path: String,
        error: Option<String>,
    },
    Usage {
        domid: DomId,
        used: Vec<Number>,
        limits: Vec<Number>,
    },
    Failed(String),
}

/// A node as read from the daemon.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) path: String,
    pub(super) children: Vec<String>,
    /// The value, or the error of reading it.
    pub(super) value: Result<Vec<u8>, String>,
    pub(super) perms: Option<Permissions>,
}

/// The maximum number of nodes in one answer.
const NODES_AT_ONCE: usize = 256;

/// Starts the thread. It ends when the sender of jobs is dropped.
pub(super) fn start(client: Client, answers: SyncSender<Input>) -> Sender<Job> {
    let (sender, jobs) = mpsc::channel();
    thread::spawn(move || {
        // Returns whether the view still runs.
        let send = |answer| answers.send(Input::Answer(answer)).is_ok();
        while let Ok(job) = jobs.recv() {
            let goes_on = match job {
                Job::Load { path, levels } => load(&client, &path, levels, &send),
                Job::Refresh(paths) => send(refresh(&client, paths)),
                Job::Write { path, value } => {
                    let result = client.write(&path, value);
                    send(Answer::Written {
                        path,
                        error: result.err().map(|error| describe(&error)),
                    })
                }
                Job::Usage(domid) => send(Answer::Usage {
                    domid,
                    used: quotas::usage(&client, domid).unwrap_or_default(),
                    limits: quotas::limits(&client, Some(domid)).unwrap_or_default(),
                }),
            };
            if !goes_on {
                return;
            }
        }
    });
    sender
}

fn load(client: &Client, path: &str, levels: usize, send: &impl Fn(Answer) -> bool) -> bool {
    let mut nodes = Vec::new();
    for node in client.walk(path).max_depth(levels).with_values().with_perms() {
        if let (0, Err(error)) = (node.depth, &node.children) {
            if !send(Answer::Failed(describe(error))) {
                return false;
            }
        }
        nodes.push(Loaded::from(node));
        if nodes.len() == NODES_AT_ONCE && !send(Answer::Loaded(std::mem::take(&mut nodes))) {
            return false;
        }
    }
    send(Answer::Loaded(nodes))
}

fn refresh(client: &Client, paths: Vec<String>) -> Answer {
    let children = client.directory_many(&paths);
    let values = client.read_many(&paths);
    let perms = client.get_perms_many(&paths);
    let parts = children.into_iter().zip(values).zip(perms);
    let nodes = paths.into_iter().zip(parts).map(|(path, ((children, value), perms))| {
        if children.as_ref().is_err_and(xs_client::Error::is_not_found) {
            return (path, None);
        }
        let loaded = Loaded {
            path: path.clone(),
            children: children.unwrap_or_default(),
            value: value.map_err(|error| describe(&error)),
            perms: perms.ok(),
        };
        (path, Some(loaded))
    });
    Answer::Refreshed(nodes.collect())
}

impl From<Node> for Loaded {
    fn from(node: Node) -> Self {
        let value = match node.value {
            Some(value) => value.map_err(|error| describe(&error)),
            None => Ok(Vec::new()),
        };
        Loaded {
            path: node.path,
            children: node.children.unwrap_or_default(),
            value,
            perms: node.perms.and_then(Result::ok),
        }
    }
}
