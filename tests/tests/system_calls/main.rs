//! Each system call of the client fails once, with each error that it can have.
//!
//! A scenario runs again and again. Each time, another call of it fails, or the same call with
//! another error. In all cases, each operation ends, nothing panics, and no wrong value is
//! returned. EINTR and EAGAIN go unnoticed. After a shortage, such as ENOMEM or EMFILE, at most the
//! operation fails, and the client goes on. After any other error, the connection may be lost, and a
//! client that may reconnect does so.
//!
//! This is the only test of its process, since it interposes the C library.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod interpose;
mod scenarios;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;

use xs_client::{Builder, Client, DomId, Error};
use xs_tests::{HANG_TIMEOUT, TempDir};
use xs_transport::mock::{Server, StopHandle, Xenstored};

use interpose::{Failed, exclude, is_passing};
use scenarios::{SCENARIOS, Scenario, VALUE};

#[test]
fn client_survives_failing_system_calls() {
    let world = World::start();
    let mut findings = BTreeMap::new();
    let mut runs = 0;
    for scenario in SCENARIOS {
        for reconnects in [false, true] {
            let mut target = 0;
            let mut variant = 0;
            loop {
                let (failed, finding) = run_guarded(&world, scenario, reconnects, target, variant);
                runs += 1;
                if let Some(finding) = finding {
                    let kind = format!("{} {reconnects}: {failed:?}: {finding}", scenario.name);
                    findings.entry(kind).or_insert_with(Vec::new).push(target);
                }
                match failed {
                    Failed::Call(..) => variant += 1,
                    Failed::NoVariant => (target, variant) = (target + 1, 0),
                    Failed::NoCall => break,
                }
            }
            println!("{}: {target} calls", scenario.name);
        }
    }
    println!("{runs} runs");
    for (finding, targets) in &findings {
        println!("{finding} (call {targets:?})");
    }
    assert!(findings.is_empty());
}

/// An in-memory xenstored behind a socket. Its system calls do not fail.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) xenstored: Xenstored,
    stop: StopHandle,
    thread: Option<thread::JoinHandle<()>>,
}

impl World {
    fn start() -> Self {
        let dir = TempDir::new();
        let xenstored = Xenstored::new();
        let mut server = Server::new(xenstored.clone()).expect("descriptors are available");
        server.bind(dir.join("socket"), DomId::DOM0).expect("the socket can be created");
        let stop = server.stop_handle();
        let thread = thread::spawn(move || exclude(|| server.run().expect("the server runs")));
        World { dir, xenstored, stop, thread: Some(thread) }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.stop();
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Runs a scenario, and ends the test if it hangs.
fn run_guarded(
    world: &World,
    scenario: &'static Scenario,
    reconnects: bool,
    target: usize,
    variant: usize,
) -> (Failed, Option<String>) {
    let (sender, result) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = sender.send(run(world, scenario, reconnects, target, variant));
        });
        let result = exclude(|| result.recv_timeout(HANG_TIMEOUT));
        result.unwrap_or_else(|_| {
            let failed = interpose::disarm();
            eprintln!("{} {reconnects} hangs: call {target}, {failed:?}", scenario.name);
            std::process::abort();
        })
    })
}

/// Runs a scenario in which a call fails. Returns the call, and the misbehaviour of the client, if any.
fn run(
    world: &World,
    scenario: &Scenario,
    reconnects: bool,
    target: usize,
    variant: usize,
) -> (Failed, Option<String>) {
    world.xenstored.remove("/s");
    world.xenstored.set("/s/value", VALUE).expect("the path is valid");
    let builder = Client::builder().timeout(None).reconnect(reconnects);
    interpose::arm(target, variant, scenario.polls);
    let done = panic::catch_unwind(AssertUnwindSafe(|| attempt(world, scenario, builder)));
    let failed = interpose::disarm();
    let Ok((client, result)) = done else {
        return (failed, Some("a panic".into()));
    };
    let finding = judge(failed, client.as_ref().filter(|_| !scenario.closes), result, reconnects);
    (failed, finding.err())
}

fn attempt(
    world: &World,
    scenario: &Scenario,
    builder: Builder,
) -> (Option<Client>, Result<(), Error>) {
    match (scenario.open)(world, builder) {
        Ok(client) => {
            let result = (scenario.body)(world, &client);
            (Some(client), result)
        }
        Err(error) => (None, Err(error)),
    }
}

/// Checks the result of a scenario, and whether the client goes on.
fn judge(
    failed: Failed,
    client: Option<&Client>,
    result: Result<(), Error>,
    reconnects: bool,
) -> Result<(), String> {
    let Failed::Call(name, error) = failed else {
        return result.map_err(|error| format!("fails without a failed call: {error}"));
    };
    let must_succeed = match error {
        libc::EINTR => true,
        // The device and the creation of a thread report it.
        libc::EAGAIN => !["write", "pthread_create"].contains(&name),
        _ => false,
    };
    if let (true, Err(error)) = (must_succeed, &result) {
        return Err(format!("the operation fails: {error}"));
    }
    // A client that was not connected has nothing to go on with.
    let Some(client) = client else { return Ok(()) };
    let is_passing = is_passing(error);
    if is_passing {
        if let Some(error) = result.err().filter(Error::is_lost) {
            return Err(format!("the connection is lost: {error}"));
        }
    }
    let mut value = client.read("/s/value");
    if reconnects && !is_passing && value.as_ref().is_err_and(Error::is_lost) {
        // The loss may have been noticed only now.
        value = client.read("/s/value");
    }
    match value {
        Ok(value) if value == VALUE => Ok(()),
        Ok(value) => Err(format!("a wrong value: {value:?}")),
        Err(_) if !reconnects && !is_passing => Ok(()),
        Err(error) => Err(format!("the client does not go on: {error}")),
    }
}
