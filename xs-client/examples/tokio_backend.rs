//! A backend on tokio: one task serves the Xenstore nodes of four devices, and each connected device
//! has a task of its own.
//!
//! ```text
//! cargo run -p xs-client --features tokio --example tokio_backend
//! ```
//!
//! On a machine without a xenstored, it uses an in-memory one. A thread plays the toolstack and the
//! frontends, see `simulation/mod.rs`.

#[path = "simulation/mod.rs"]
pub(crate) mod simulation;

use std::collections::BTreeMap;
use std::future::pending;
use std::thread;

use tokio::task::JoinHandle;
use xs_client::futures::{Client, WatchSet};
use xs_client::handshake::{self, Action, BackendNodes};
use xs_client::{Result, WatchEvent, WatchToken};

use simulation::{DEVICES, Simulation};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [client, toolstack] = simulation::connect()?;
    let root = "/tool/xs-example-tokio";
    let simulation = Simulation::new(&toolstack, root)?;
    let simulation = thread::spawn(move || simulation.run());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(client, &format!("{root}/backend")))?;
    simulation.join().expect("the simulation does not panic")?;
    toolstack.rm(root)?;
    Ok(())
}

/// Serves all devices below `root`, until so many as there are in the example have been removed.
/// Returns how many connections there were.
pub(crate) async fn serve(client: xs_client::Client, root: &str) -> Result<usize> {
    let client = Client::on_tokio(client)?;
    let mut backend = Backend::new(&client, root).await?;
    while backend.removed < DEVICES {
        let event = backend.watches.wait().await?;
        backend.handle_event(&event).await?;
    }
    Ok(backend.connections)
}

/// All devices of one kind.
struct Backend<'a> {
    client: &'a Client,
    root: &'a str,
    /// A watch on the root, for new devices and changes of their own nodes, and one on the state of
    /// each frontend.
    watches: WatchSet,
    root_watch: WatchToken,
    /// The devices by their names below the root, such as `5/0`.
    devices: BTreeMap<String, Device>,
    connections: usize,
    removed: usize,
}

struct Device {
    frontend_state: String,
    watch: WatchToken,
    machine: handshake::Backend,
    /// Serves the device while it is connected.
    task: Option<JoinHandle<()>>,
}

impl<'a> Backend<'a> {
    async fn new(client: &'a Client, root: &'a str) -> Result<Self> {
        let watches = client.watch_set();
        let root_watch = watches.add(root).await?;
        let devices = BTreeMap::new();
        Ok(Backend { client, root, watches, root_watch, devices, connections: 0, removed: 0 })
    }

    async fn handle_event(&mut self, event: &WatchEvent) -> Result<()> {
        if event.token != self.root_watch {
            let mut devices = self.devices.iter();
            let name = devices.find(|(_, device)| device.watch == event.token);
            return match name.map(|(name, _)| name.clone()) {
                Some(name) => self.update(&name).await,
                None => Ok(()),
            };
        }
        // The path is `root/5/0/state`, or the root itself at the start and after a reconnect.
        let below = event.path.strip_prefix(self.root).unwrap_or_default();
        match below.split('/').collect::<Vec<_>>()[..] {
            [_, domain, device, ..] => self.update(&format!("{domain}/{device}")).await,
            _ => self.scan().await,
        }
    }

    /// Looks for new devices, and updates the known ones.
    async fn scan(&mut self) -> Result<()> {
        for name in self.devices.keys().cloned().collect::<Vec<_>>() {
            self.update(&name).await?;
        }
        for domain in children(self.client, self.root).await? {
            for device in children(self.client, &format!("{}/{domain}", self.root)).await? {
                self.update(&format!("{domain}/{device}")).await?;
            }
        }
        Ok(())
    }

    /// Tells the machine of a device of the present states, and does what it asks for.
    async fn update(&mut self, name: &str) -> Result<()> {
        let own = format!("{}/{name}", self.root);
        let own_state = format!("{own}/state");
        let state = self.client.read_state_opt(&own_state).await?;
        let online = self.client.read_opt(format!("{own}/online")).await?;
        let online = online.is_some_and(|value| value == b"1");
        if !self.devices.contains_key(name) {
            // A device that was removed may still have nodes.
            let is_new = online && state.is_some();
            let frontend = self.client.read_str_opt(format!("{own}/frontend")).await?;
            let Some(frontend) = frontend.filter(|_| is_new) else { return Ok(()) };
            let frontend_state = format!("{frontend}/state");
            let watch = self.watches.add(&frontend_state).await?;
            let machine = handshake::Backend::new();
            let device = Device { frontend_state, watch, machine, task: None };
            self.devices.insert(name.into(), device);
        }
        let Some(device) = self.devices.get_mut(name) else { return Ok(()) };
        let frontend_state = self.client.read_state_opt(&device.frontend_state).await?;
        device.machine.handle_nodes(BackendNodes { state, frontend_state, online });
        while let Some(action) = device.machine.poll_action() {
            println!("device {name}: {action:?}");
            match action {
                // If the toolstack has just removed the device, there is an event.
                Action::Write(state) => match self.client.switch_state(&own_state, state).await {
                    Err(error) if error.is_not_found() => {}
                    result => result?,
                },
                Action::Connect => {
                    // A real task maps the rings, and serves them.
                    device.task = Some(tokio::spawn(pending()));
                    device.machine.handle_done(true);
                    self.connections += 1;
                }
                Action::Remove => {
                    self.watches.remove(device.watch).await?;
                    self.devices.remove(name);
                    self.removed += 1;
                    break;
                }
                _ => {
                    device.task.take().inspect(JoinHandle::abort);
                    device.machine.handle_done(true);
                }
            }
        }
        Ok(())
    }
}

async fn children(client: &Client, path: &str) -> Result<Vec<String>> {
    client.directory_opt(path).await.map(Option::unwrap_or_default)
}
