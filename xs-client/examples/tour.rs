//! Shows the main operations of a client, and prints what they return.
//!
//! ```text
//! cargo run -p xs-client --example tour
//! cargo run -p xs-client --example tour -- --socket PATH
//! ```
//!
//! The first form connects to the xenstored of this machine. On a machine without one, it uses an
//! in-memory xenstored as domain 5. The second form connects to the socket at PATH. The example
//! writes only below `data/xs-tour`, in the home of the domain, and removes these nodes at the end.

use std::error::Error as StdError;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use xs_client::{Access, Client, DomId, Error, Permissions, Result};
use xs_transport::mock::Xenstored;

/// The parent of all nodes that the tour creates. The path is relative to the home of the domain.
const BASE: &str = "data/xs-tour";

/// How many nodes a transaction writes when two clients conflict.
const NODES: usize = 200;

/// How many conflicts each of the two clients has to see.
const CONFLICTS: u32 = 5;

fn main() -> std::result::Result<(), Box<dyn StdError>> {
    let daemon = Daemon::find()?;
    let client = daemon.connect()?;
    println!("Connected to {}", client.transport_name());

    read_nodes(&client);
    write_and_read(&client)?;
    permissions(&client)?;
    directories(&client)?;
    remove(&client)?;
    transactions(&client)?;
    watch(&client)?;
    conflicts(&daemon)?;

    heading("Clean up: remove all watches and stop the callback thread");
    client.unwatch_all()?;
    client.watch_stop();
    client.rm(BASE)?;
    println!("  removed {BASE}");
    Ok(())
}

fn read_nodes(client: &Client) {
    heading("Read three nodes in one round trip");
    let names = ["domid", "vm", "name"];
    for (name, value) in names.iter().zip(client.read_many(names)) {
        // Each node has its own result. Values are bytes.
        match value {
            Ok(value) => println!("  {name} = {:?}", String::from_utf8_lossy(&value)),
            Err(error) => println!("  {error}"),
        }
    }
}

fn write_and_read(client: &Client) -> Result<()> {
    heading("Write a value and read it back");
    client.write(at("new"), "a value")?;
    println!("  {} = {:?}", at("new"), client.read_str(at("new"))?);
    Ok(())
}

fn permissions(client: &Client) -> Result<()> {
    heading("Read and change permissions");
    let before = client.get_perms(at("new"))?;
    print_permissions("before", &before);
    let owner = before.owner().domid;
    let changed = Permissions::owned_by(owner)
        .with(DomId::DOM0, Access::ReadWrite)
        .with(DomId::new(6), Access::Read);
    client.set_perms(at("new"), &changed)?;
    print_permissions("after", &client.get_perms(at("new"))?);
    Ok(())
}

fn print_permissions(label: &str, perms: &Permissions) {
    let owner = perms.owner().domid;
    println!("  {label}: {perms}");
    println!("    domain {owner}: owner");
    for (domid, access) in perms.to_map() {
        // The first entry names the owner and the access of all domains that are not listed.
        let subject =
            if domid == owner { "other domains".into() } else { format!("domain {domid}") };
        let access = match access {
            Access::None => "no access",
            Access::Read => "read",
            Access::Write => "write",
            Access::ReadWrite => "read and write",
        };
        println!("    {subject}: {access}");
    }
}

fn directories(client: &Client) -> Result<()> {
    heading("Create a directory, and a value below an existing node");
    client.mkdir(at("another-new"))?;
    client.write(at("new/path"), "below")?;
    println!("  {} = {:?}", at("new/path"), client.read_str(at("new/path"))?);
    println!("  children of {BASE}: {:?}", client.directory(BASE)?);
    Ok(())
}

fn remove(client: &Client) -> std::result::Result<(), Box<dyn StdError>> {
    heading("Remove a node, after which reading it fails");
    client.rm(at("new/path"))?;
    match client.read(at("new/path")) {
        Err(error) if error.is_not_found() => println!("  {error}"),
        other => return Err(format!("expected ENOENT, got {other:?}").into()),
    }
    Ok(())
}

fn transactions(client: &Client) -> std::result::Result<(), Box<dyn StdError>> {
    heading("Commit a transaction, then abort one");
    let tx = client.start_transaction()?;
    tx.write(at("tnew"), "committed")?;
    println!("  before the commit: exists = {}", client.exists(at("tnew"))?);
    tx.commit()?;
    println!("  after the commit:  {} = {:?}", at("tnew"), client.read_str(at("tnew"))?);

    let tx = client.start_transaction()?;
    tx.write(at("tnew"), "aborted")?;
    tx.abort()?;
    let value = client.read_str(at("tnew"))?;
    println!("  after the abort:   {} = {value:?}", at("tnew"));
    if value != "committed" {
        return Err("an aborted transaction has changed a value".into());
    }
    Ok(())
}

fn watch(client: &Client) -> Result<()> {
    heading("Watch a node with a callback that owns an argument");
    let (sender, calls) = mpsc::channel();
    let argument = String::from("an argument");
    client.watch_with(at("new"), move |event| {
        // Runs on the callback thread of the client. An error means that the receiver is gone.
        let _ = sender.send((event, argument.clone()));
    })?;
    let print_call = |reason: &str| {
        if let Ok((Ok(event), argument)) = calls.recv_timeout(Duration::from_secs(10)) {
            println!("  {reason}: called with {event} and {argument:?}");
        }
    };
    print_call("after setting the watch");
    client.write(at("new"), "another value")?;
    print_call("after writing the value");
    Ok(())
}

/// Lets two clients write the same nodes in transactions at the same time, until each has seen
/// [`CONFLICTS`] conflicts. The client that commits second gets EAGAIN, and its transaction runs
/// again. The clients take turns in committing second.
fn conflicts(daemon: &Daemon) -> Result<()> {
    heading(&format!("Run transactions of two clients that conflict on {NODES} nodes"));
    let (first, second) = Contender::pair();
    thread::scope(|scope| {
        let second = scope.spawn(|| second.run(daemon));
        let first = first.run(daemon);
        let second = second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        first.and(second)
    })
}

/// One of the two clients that conflict.
struct Contender {
    number: u32,
    to_other: Sender<()>,
    from_other: Receiver<()>,
}

impl Contender {
    fn pair() -> (Self, Self) {
        let (to_second, from_first) = mpsc::channel();
        let (to_first, from_second) = mpsc::channel();
        (
            Contender { number: 0, to_other: to_second, from_other: from_second },
            Contender { number: 1, to_other: to_first, from_other: from_first },
        )
    }

    fn run(self, daemon: &Daemon) -> Result<()> {
        let client = daemon.connect()?;
        let paths: Vec<_> = (1..=NODES).map(|n| at(&format!("conflict/{n}"))).collect();
        let mut conflicts = 0;
        for round in 0..2 * CONFLICTS {
            let commits_second = round % 2 == self.number;
            let mut attempts = 0;
            client.transaction(|tx| {
                // oxenstored reports a conflict only to a transaction that has also read.
                tx.exists(&paths[0])?;
                let value = format!("client {} in round {round}", self.number + 1);
                tx.write_all(paths.iter().map(|path| (path, &value)))?;
                attempts += 1;
                if attempts == 1 {
                    // Both transactions are open here.
                    self.rendezvous()?;
                    if commits_second {
                        // Wait until the other client has committed.
                        self.rendezvous()?;
                    }
                }
                Ok(())
            })?;
            if !commits_second {
                self.rendezvous()?;
            }
            conflicts += attempts - 1;
            // Start the next round together.
            self.rendezvous()?;
        }
        if conflicts < CONFLICTS {
            return Err(Error::other("the daemon did not report a conflict"));
        }
        println!(
            "  client {}: {conflicts} conflicts, each followed by another attempt",
            self.number + 1
        );
        Ok(())
    }

    /// Waits for the other client. Fails if the other client has given up.
    fn rendezvous(&self) -> Result<()> {
        self.to_other.send(()).map_err(Error::other)?;
        self.from_other.recv().map_err(Error::other)
    }
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn at(name: &str) -> String {
    format!("{BASE}/{name}")
}

/// The xenstored that the tour uses.
enum Daemon {
    Socket(String),
    Local,
    InMemory(Xenstored),
}

impl Daemon {
    fn find() -> std::result::Result<Self, Box<dyn StdError>> {
        let args: Vec<_> = std::env::args().skip(1).collect();
        match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["--socket", path] => Ok(Daemon::Socket(path.into())),
            [] => match Client::open() {
                Ok(_) => Ok(Daemon::Local),
                Err(error) => {
                    println!("{error}\nUsing an in-memory xenstored instead\n");
                    let xenstored = Xenstored::new();
                    xenstored.add_guest(DomId::new(5));
                    Ok(Daemon::InMemory(xenstored))
                }
            },
            _ => Err("usage: tour [--socket PATH]".into()),
        }
    }

    fn connect(&self) -> Result<Client> {
        match self {
            Daemon::Socket(path) => Client::open_at(path),
            Daemon::Local => Client::open(),
            Daemon::InMemory(xenstored) => {
                Ok(Client::from_transport(xenstored.connect(DomId::new(5))))
            }
        }
    }
}
