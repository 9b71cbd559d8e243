//! A tour of what a program can do with Xenstore.
//!
//! ```text
//! cargo run -p xs-client --example tour [-- --socket PATH]
//! ```
//!
//! It uses the xenstored at PATH, or else the one of this machine, or else one in memory, which
//! needs no Xen. It writes below `data/xs-tour` and removes that in the end.

use std::error::Error as StdError;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use xs_client::{Access, Client, DomId, Error, Permissions, Result};
use xs_transport::mock::Xenstored;

/// Where the tour takes place: below the home of whoever we are.
const BASE: &str = "data/xs-tour";

/// How many keys a colliding transaction writes, and how many conflicts each side has to see.
const KEYS: usize = 200;
const CONFLICTS: u32 = 5;

fn main() -> std::result::Result<(), Box<dyn StdError>> {
    let host = Host::find()?;
    let client = host.connect()?;
    println!("Connected to {}.", client.transport_name());

    read_three_keys(&client);
    write_and_read(&client)?;
    permissions(&client)?;
    directories(&client)?;
    remove(&client)?;
    transactions(&client)?;
    watch(&client)?;
    collide(&host)?;

    title("All watches are removed, and the thread that called back is stopped");
    client.unwatch_all()?;
    client.watch_stop();
    client.rm(BASE)?;
    println!("  {BASE} is removed as well. That was the tour.");
    Ok(())
}

fn read_three_keys(client: &Client) {
    title("Reading three keys in one round trip");
    let keys = ["domid", "vm", "name"];
    for (key, value) in keys.iter().zip(client.read_many(keys)) {
        // Each has its own answer, and values are bytes.
        match value {
            Ok(value) => println!("  {key} = {:?}", String::from_utf8_lossy(&value)),
            Err(error) => println!("  {error}"),
        }
    }
}

fn write_and_read(client: &Client) -> Result<()> {
    title("Writing a value and reading it back");
    client.write(&at("new"), "a value")?;
    println!("  {} = {:?}", at("new"), client.read_str(&at("new"))?);
    Ok(())
}

fn permissions(client: &Client) -> Result<()> {
    title("Permissions: the owner comes first, with what everyone else may do");
    let before = client.get_perms(&at("new"))?;
    explain(&before);
    let owner = before.owner().domid;
    let changed = Permissions::owned_by(owner, Access::None)
        .with(DomId::DOM0, Access::ReadWrite)
        .with(DomId::new(6), Access::Read);
    client.set_perms(&at("new"), &changed)?;
    println!("  after a change:");
    explain(&client.get_perms(&at("new"))?);
    Ok(())
}

fn explain(perms: &Permissions) {
    println!("  {perms} on the wire: owned by domain {}", perms.owner().domid);
    for (domid, access) in perms.to_map() {
        let who = if domid == perms.owner().domid {
            "everyone else".into()
        } else {
            format!("domain {domid}")
        };
        println!(
            "    {who}: {}",
            match access {
                Access::None => "nothing",
                Access::Read => "reads",
                Access::Write => "writes",
                Access::ReadWrite => "reads and writes",
            }
        );
    }
}

fn directories(client: &Client) -> Result<()> {
    title("A directory, and a value below it");
    client.mkdir(&at("another-new"))?;
    client.write(&at("new/path"), "below")?;
    println!("  {} = {:?}", at("new/path"), client.read_str(&at("new/path"))?);
    println!("  {BASE} has the children {:?}", client.directory(BASE)?);
    Ok(())
}

fn remove(client: &Client) -> std::result::Result<(), Box<dyn StdError>> {
    title("Removing a key; to read it is then an error, as it should be");
    client.rm(&at("new/path"))?;
    match client.read(&at("new/path")) {
        Err(error) if error.is_not_found() => println!("  {error}"),
        other => return Err(format!("expected ENOENT, got {other:?}").into()),
    }
    Ok(())
}

fn transactions(client: &Client) -> std::result::Result<(), Box<dyn StdError>> {
    title("A transaction is seen when it is committed, and not at all when it is aborted");
    let tx = client.start_transaction()?;
    tx.write(&at("tnew"), "committed")?;
    println!("  before the commit it exists: {}", client.exists(&at("tnew"))?);
    tx.commit()?;
    println!("  after the commit:  {} = {:?}", at("tnew"), client.read_str(&at("tnew"))?);

    let tx = client.start_transaction()?;
    tx.write(&at("tnew"), "aborted")?;
    tx.abort()?;
    let value = client.read_str(&at("tnew"))?;
    println!("  after an abort:    {} = {value:?}", at("tnew"));
    if value != "committed" {
        Err("an aborted transaction left something behind".into())
    } else {
        Ok(())
    }
}

fn watch(client: &Client) -> Result<()> {
    title("Watching a key from a callback, which brings data of its own");
    let (sender, called) = mpsc::channel();
    let argument = String::from("an argument");
    client.watch_with(&at("new"), move |event| {
        // On a background thread. What became of the receiver is not our business.
        let _ = sender.send((event, argument.clone()));
    })?;
    let show = |why: &str| {
        if let Ok((Ok(event), argument)) = called.recv_timeout(Duration::from_secs(10)) {
            println!("  called with {event} and {argument:?}: {why}");
        }
    };
    show("as soon as the watch is set");
    client.write(&at("new"), "another value")?;
    show("the value was written");
    Ok(())
}

/// Two clients write the same keys, each in a transaction, and meet before they commit: the one
/// whose commit comes second is told EAGAIN, and replays. They take turns in that.
fn collide(host: &Host) -> Result<()> {
    title("Two clients that keep colliding over a transaction of 200 writes");
    let (one, other) = Side::pair();
    thread::scope(|scope| {
        let other = scope.spawn(|| other.run(host));
        let one = one.run(host);
        let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        one.and(other)
    })
}

/// One of two who collide.
struct Side {
    number: u32,
    to: Sender<()>,
    from: Receiver<()>,
}

impl Side {
    fn pair() -> (Self, Self) {
        let (to_other, from_one) = mpsc::channel();
        let (to_one, from_other) = mpsc::channel();
        (
            Side { number: 0, to: to_other, from: from_other },
            Side { number: 1, to: to_one, from: from_one },
        )
    }

    fn run(self, host: &Host) -> Result<()> {
        let client = host.connect()?;
        let keys: Vec<_> = (1..=KEYS).map(|n| at(&format!("collision/key{n}"))).collect();
        let mut conflicts = 0;
        for round in 0..2 * CONFLICTS {
            let is_second = round % 2 == self.number;
            let mut attempts = 0;
            client.transaction(|tx| {
                // To write without a look would be fine with oxenstored, whatever others do.
                tx.exists(&keys[0])?;
                let value = format!("client {} in round {round}", self.number + 1);
                let written = tx.write_many(keys.iter().map(|key| (key, &value)));
                written.into_iter().collect::<Result<()>>()?;
                attempts += 1;
                if attempts == 1 {
                    self.meet()?;
                    if is_second {
                        // The other one has committed by then.
                        self.meet()?;
                    }
                }
                Ok(())
            })?;
            if !is_second {
                self.meet()?;
            }
            conflicts += attempts - 1;
            // Both are through with the round.
            self.meet()?;
        }
        if conflicts < CONFLICTS {
            return Err(Error::other("the daemon let a conflict pass"));
        }
        println!("  client {}: {conflicts} conflicts seen and replayed", self.number + 1);
        Ok(())
    }

    /// Waits for the other one; an error if it has given up.
    fn meet(&self) -> Result<()> {
        self.to.send(()).map_err(Error::other)?;
        self.from.recv().map_err(Error::other)
    }
}

fn title(text: &str) {
    println!("\n{text}");
}

fn at(name: &str) -> String {
    format!("{BASE}/{name}")
}

/// Where the xenstored is.
enum Host {
    Socket(String),
    Machine,
    Memory(Xenstored),
}

impl Host {
    fn find() -> std::result::Result<Self, Box<dyn StdError>> {
        let args: Vec<_> = std::env::args().skip(1).collect();
        match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["--socket", path] => Ok(Host::Socket(path.into())),
            [] => match Client::open() {
                Ok(_) => Ok(Host::Machine),
                Err(error) => {
                    println!("{error}\nA xenstored in memory has to do.\n");
                    let xenstored = Xenstored::new();
                    xenstored.add_guest(DomId::new(5));
                    Ok(Host::Memory(xenstored))
                }
            },
            _ => Err("usage: tour [--socket PATH]".into()),
        }
    }

    fn connect(&self) -> Result<Client> {
        match self {
            Host::Socket(path) => Client::open_at(path),
            Host::Machine => Client::open(),
            Host::Memory(xenstored) => Ok(Client::over(xenstored.connect(DomId::new(5)))),
        }
    }
}
