//! A toolstack and its guests' frontends, with which the examples of backends work on any xenstored.

use std::time::Duration;

use xs_client::XenbusState::{Closed, Closing, Connected, Initialising};
use xs_client::handshake::{Action, Frontend, FrontendNodes};
use xs_client::{Client, Error, Result, WatchSet, WatchToken, XenbusState};

mod connect;

pub(crate) use connect::connect;

/// The number of devices.
pub(crate) const DEVICES: usize = 4;

/// Longer than any step takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The devices, as the toolstack and the frontends see them.
pub(crate) struct Simulation {
    client: Client,
    devices: Vec<Device>,
    /// One watch on the backend's state of each device.
    watches: WatchSet,
}

struct Device {
    backend: String,
    frontend: String,
    token: WatchToken,
    machine: Frontend,
}

impl Simulation {
    /// Creates the devices below `root`, as a toolstack does: each with both ends in one
    /// transaction. The backends are in `root/backend`.
    pub(crate) fn new(client: &Client, root: &str) -> Result<Self> {
        let watches = client.watch_set();
        let mut devices = Vec::new();
        for at in 0..DEVICES {
            let backend = format!("{root}/backend/{at}/0");
            let frontend = format!("{root}/frontend/{at}");
            client.transaction(|tx| {
                tx.write(format!("{backend}/frontend"), &frontend)?;
                tx.write(format!("{backend}/online"), "1")?;
                tx.write_display(format!("{backend}/state"), Initialising)?;
                tx.write(format!("{frontend}/backend"), &backend)?;
                tx.write_display(format!("{frontend}/state"), Initialising)
            })?;
            let token = watches.add(format!("{backend}/state"))?;
            devices.push(Device { backend, frontend, token, machine: Frontend::new() });
        }
        Ok(Simulation { client: client.clone(), devices, watches })
    }

    /// The frontends connect, close and connect again. Then the toolstack removes the devices.
    pub(crate) fn run(mut self) -> Result<()> {
        self.wait_for(Connected)?;
        self.devices.iter_mut().for_each(|device| device.machine.close());
        self.wait_for(Closed)?;
        self.devices.iter_mut().for_each(|device| device.machine.restart());
        self.wait_for(Connected)?;
        for Device { backend, .. } in &self.devices {
            self.client.transaction(|tx| {
                tx.write(format!("{backend}/online"), "0")?;
                tx.write_display(format!("{backend}/state"), Closing)
            })?;
        }
        self.wait_for(Closed)?;
        for Device { backend, frontend, .. } in &self.devices {
            self.client.wait_for_state(format!("{backend}/state"), [Closed], TIMEOUT)?;
            self.client.transaction(|tx| {
                tx.rm(backend)?;
                tx.rm(frontend)
            })?;
        }
        Ok(())
    }

    /// Drives the frontends until all are in a state.
    fn wait_for(&mut self, state: XenbusState) -> Result<()> {
        let Simulation { client, devices, watches } = self;
        for device in devices.iter_mut() {
            device.update(client)?;
        }
        while devices.iter().any(|device| device.machine.state() != Some(state)) {
            let event = watches.next_timeout(TIMEOUT)?;
            let event = event.ok_or_else(|| Error::other("a backend does not go on"))?;
            let device = devices.iter_mut().find(|device| device.token == event.token);
            device.map_or(Ok(()), |device| device.update(client))?;
        }
        Ok(())
    }
}

impl Device {
    /// Tells the machine of the present states, and does what it asks for.
    fn update(&mut self, client: &Client) -> Result<()> {
        let own = format!("{}/state", self.frontend);
        self.machine.handle_nodes(FrontendNodes {
            state: client.read_state_opt(&own)?,
            backend_state: client.read_state_opt(format!("{}/state", self.backend))?,
        });
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Write(state) => client.switch_state(&own, state)?,
                Action::Publish => {
                    client.write(format!("{}/ring-ref", self.frontend), "8")?;
                    self.machine.handle_done(true);
                }
                _ => self.machine.handle_done(true),
            }
        }
        Ok(())
    }
}
