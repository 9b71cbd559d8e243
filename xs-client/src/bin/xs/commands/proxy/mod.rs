//! `xs proxy`: passes on the messages between clients and a daemon, and records them.

mod conversation;
mod hub;
mod input;
mod link;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::fs::Mode;
use rustix::process::umask;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use xs_transport::discover;

use self::conversation::Conversation;
use self::hub::Hub;
use self::input::Input;
use crate::connection::ConnectionArgs;
use crate::error::{CommandError, CommandResult};
use crate::home;
use crate::output::Output;

/// Stand between clients and the daemon, and write down their conversation
///
/// Clients connect to the socket of --listen as they would to the daemon, and have the rights that
/// xs has. Up to 16 requests that only read are in flight at a time. Any other request is passed on
/// alone, and then all events that it causes: an event does not tell its cause, and each request
/// stands above its answers. So clients do not change nodes at the same time, and the proxy takes
/// longer than the daemon. SIGINT and SIGTERM end the proxy and remove the socket.
///
/// Programs that use libxenstore or xs find the socket by the environment variable XENSTORED_PATH.
///
/// The text has a line per message: the connection, > for a request, < for its reply or ! for an
/// event, the type, the transaction of a request, and the payload. The source of xs describes it in
/// tests/tests/conversations/README.md, and has a test that repeats the requests of a recording on
/// the in-memory xenstored and compares the replies.
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// Socket to create, which only this user can connect to
    #[arg(long, value_name = "FILE")]
    listen: PathBuf,
    /// Write the conversation to a file, instead of printing it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Wait this long before passing on each message to a client
    #[arg(long, value_name = "MILLISECONDS")]
    slow: Option<u64>,
    /// Pass on messages to clients in pieces of this size
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    split: Option<u32>,
    /// Close each connection after passing on this many bytes to the client, even within a message
    #[arg(long, value_name = "BYTES")]
    cut: Option<usize>,
}

/// Faults of messages on their way to a client.
#[derive(Clone, Copy, Debug)]
struct Faults {
    slow: Duration,
    split: Option<usize>,
    cut: Option<usize>,
}

/// The time for which the proxy waits for the answer to a request, unless --timeout sets another
/// one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of inputs that may wait for the hub. The senders of further inputs wait.
const INPUTS_AHEAD: usize = 64;

/// The path of the socket, which is removed when this value is dropped.
struct Listening<'a>(&'a Path);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        // If the socket remains, the next command that creates it reports that it is in use.
        let _ = fs::remove_file(self.0);
    }
}

impl Proxy {
    pub(crate) fn run(&self, connection: &ConnectionArgs, output: &mut Output) -> CommandResult {
        let daemon = find(connection)?;
        let recorded: Box<dyn Write + '_> = match &self.record {
            None => Box::new(&mut *output),
            Some(path) => Box::new(File::create(path).map_err(|error| {
                CommandError::io(format!("cannot write {}", path.display()), error)
            })?),
        };
        let (sender, inputs) = mpsc::sync_channel(INPUTS_AHEAD);
        let failed = |error| CommandError::io("cannot run the proxy", error);
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let listener = bind(&self.listen)?;
        let _listening = Listening(&self.listen);
        let stop = sender.clone();
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                // Fails if the proxy has ended already.
                let _ = stop.send(Input::Stop);
            }
        });
        let clients = sender.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else {
                    // The process has no descriptors left until a connection ends.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                };
                if clients.send(Input::NewClient(stream)).is_err() {
                    return;
                }
            }
        });
        let mut conversation = Conversation::new(recorded, domid_at(connection, &daemon));
        conversation.begin(&daemon, self.record.as_deref())?;
        if self.record.is_some() {
            println(&self.listen)?;
        }
        let faults = Faults {
            slow: Duration::from_millis(self.slow.unwrap_or_default()),
            split: self.split.map(|bytes| bytes as usize),
            cut: self.cut,
        };
        let timeout = connection.timeout.unwrap_or(DEFAULT_TIMEOUT);
        Hub::new(daemon, conversation, faults, timeout, sender, inputs).run()?;
        Ok(true)
    }
}

/// Prints the path of the socket, which tells scripts that it accepts connections.
fn println(path: &Path) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(format!("{}\n", path.display()).as_bytes())?;
    stdout.flush()
}

/// Returns the socket of the daemon: the first candidate that accepts a connection.
fn find(connection: &ConnectionArgs) -> CommandResult<PathBuf> {
    if connection.device.is_some() {
        return Err(CommandError::new("proxy: only the socket of a daemon can be passed on")
            .with_hint("name one with --socket"));
    }
    let candidates = match &connection.socket {
        Some(path) => vec![path.clone()],
        None => discover::candidates(),
    };
    match candidates.iter().find(|path| UnixStream::connect(path).is_ok()) {
        Some(path) => Ok(path.clone()),
        None => {
            // The error of opening a client explains the cause.
            connection.open()?;
            Err(CommandError::new("proxy: only the socket of a daemon can be passed on"))
        }
    }
}

/// Returns the number of the domain as which clients of this socket act.
fn domid_at(connection: &ConnectionArgs, daemon: &Path) -> u16 {
    let Ok(client) = connection.builder().open_at(daemon) else { return 0 };
    if client.directory("/").is_ok() {
        return 0;
    }
    home::domid(&client)
}

fn bind(path: &Path) -> CommandResult<UnixListener> {
    // Clients of the socket have the rights of this user.
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener.map_err(|error| {
        let in_use = error.kind() == io::ErrorKind::AddrInUse;
        let error = CommandError::io(format!("cannot listen on {}", path.display()), error);
        match in_use {
            true => error.with_hint("choose another path, or remove the file if nothing uses it"),
            false => error,
        }
    })
}
