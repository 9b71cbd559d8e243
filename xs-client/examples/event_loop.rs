//! A backend in an event loop: one thread serves four devices, a timer and another descriptor.
//!
//! ```text
//! cargo run -p xs-client --features mio --example event_loop
//! ```
//!
//! On a machine without a xenstored, it uses an in-memory one. The other descriptor stands for an
//! event channel, or for anything else that a backend waits for. A thread plays the toolstack and the
//! frontends, see `simulation/mod.rs`.

#[path = "simulation/mod.rs"]
pub(crate) mod simulation;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use xs_client::handshake::{self, Action, BackendNodes};
use xs_client::{Client, Result, WatchEvent, WatchSet, WatchToken, XenbusState};

use simulation::{DEVICES, Simulation};

const XENSTORE: Token = Token(0);
const OTHER: Token = Token(1);
const TICK: Duration = Duration::from_millis(200);

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [client, toolstack] = simulation::connect()?;
    let root = "/tool/xs-example-event-loop";
    let simulation = Simulation::new(&toolstack, root)?;
    let simulation = thread::spawn(move || simulation.run());
    serve(&client, &format!("{root}/backend"))?;
    simulation.join().expect("the simulation does not panic")?;
    toolstack.rm(root)?;
    Ok(())
}

/// Serves all devices below `root`, until so many as there are in the example have been removed.
/// Returns how many connections there were.
pub(crate) fn serve(
    client: &Client,
    root: &str,
) -> std::result::Result<usize, Box<dyn std::error::Error>> {
    let mut xenstore = client.event_source()?;
    let (mut other, mut peer) = UnixStream::pair()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut xenstore, XENSTORE, Interest::READABLE)?;
    poll.registry().register(&mut other, OTHER, Interest::READABLE)?;

    let mut backend = Backend::new(client, root)?;
    let mut events = Events::with_capacity(16);
    let mut next_tick = Instant::now() + TICK;
    while backend.removed < DEVICES {
        poll.poll(&mut events, Some(next_tick.saturating_duration_since(Instant::now())))?;
        if events.iter().any(|event| event.token() == OTHER) {
            let mut buf = [0; 64];
            while let Ok(n @ 1..) = other.read(&mut buf) {
                println!("other descriptor: {:?}", String::from_utf8_lossy(&buf[..n]));
            }
        }

        // Receive what has come, then take the events without waiting.
        xenstore.process()?;
        while let Some(event) = backend.watches.try_next()? {
            backend.handle_event(&event)?;
        }

        if Instant::now() >= next_tick {
            next_tick += TICK;
            peer.write_all(b"tick")?;
        }
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
}

impl<'a> Backend<'a> {
    fn new(client: &'a Client, root: &'a str) -> Result<Self> {
        let watches = client.watch_set();
        let root_watch = watches.add(root)?;
        let devices = BTreeMap::new();
        Ok(Backend { client, root, watches, root_watch, devices, connections: 0, removed: 0 })
    }

    fn handle_event(&mut self, event: &WatchEvent) -> Result<()> {
        if event.token != self.root_watch {
            let mut devices = self.devices.iter();
            let name = devices.find(|(_, device)| device.watch == event.token);
            return match name.map(|(name, _)| name.clone()) {
                Some(name) => self.update(&name),
                None => Ok(()),
            };
        }
        // The path is `root/5/0/state`, or the root itself at the start and after a reconnect.
        let below = event.path.strip_prefix(self.root).unwrap_or_default();
        match below.split('/').collect::<Vec<_>>()[..] {
            [_, domain, device, ..] => self.update(&format!("{domain}/{device}")),
            _ => self.scan(),
        }
    }

    /// Looks for new devices, and updates the known ones.
    fn scan(&mut self) -> Result<()> {
        let known: Vec<_> = self.devices.keys().cloned().collect();
        known.iter().try_for_each(|name| self.update(name))?;
        for domain in children(self.client, self.root)? {
            for device in children(self.client, &format!("{}/{domain}", self.root))? {
                self.update(&format!("{domain}/{device}"))?;
            }
        }
        Ok(())
    }

    /// Tells the machine of a device of the present states, and does what it asks for.
    ///
    /// These calls wait for the daemon, for less than a millisecond in general. A backend that must
    /// not wait starts them, and collects their results with the events; see `Tree::start`.
    fn update(&mut self, name: &str) -> Result<()> {
        let own = format!("{}/{name}", self.root);
        let state = self.client.read_state_opt(format!("{own}/state"))?;
        let online = self.client.read_opt(format!("{own}/online"))?;
        let online = online.is_some_and(|value| value == b"1");
        if !self.devices.contains_key(name) {
            // A device that was removed may still have nodes.
            let is_new = online && state.is_some();
            let frontend = self.client.read_str_opt(format!("{own}/frontend"))?;
            let Some(frontend) = frontend.filter(|_| is_new) else { return Ok(()) };
            let frontend_state = format!("{frontend}/state");
            let watch = self.watches.add(&frontend_state)?;
            let machine = handshake::Backend::new();
            self.devices.insert(name.into(), Device { frontend_state, watch, machine });
        }
        let Some(device) = self.devices.get_mut(name) else { return Ok(()) };
        let frontend_state = self.client.read_state_opt(&device.frontend_state)?;
        device.machine.handle_nodes(BackendNodes { state, frontend_state, online });
        while let Some(action) = device.machine.poll_action() {
            println!("device {name}: {action:?}");
            match action {
                Action::Write(state) => write_state(self.client, &own, state)?,
                Action::Remove => {
                    self.watches.remove(device.watch)?;
                    self.devices.remove(name);
                    self.removed += 1;
                    break;
                }
                // Here a real backend maps the rings, or unmaps them.
                action => {
                    self.connections += usize::from(action == Action::Connect);
                    device.machine.handle_done(true);
                }
            }
        }
        Ok(())
    }
}

/// Writes the state of a device. If the toolstack has just removed the device, there is an event.
fn write_state(client: &Client, own: &str, state: XenbusState) -> Result<()> {
    match client.switch_state(format!("{own}/state"), state) {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

fn children(client: &Client, path: &str) -> Result<Vec<String>> {
    client.directory_opt(path).map(Option::unwrap_or_default)
}
