//! The examples of backends, whose devices connect, close, connect again and are removed; and waiting
//! for the states of devices.

#[allow(dead_code, reason = "an example has a function `main`")]
#[path = "../../../xs-client/examples/event_loop.rs"]
mod event_loop;
#[allow(dead_code, reason = "an example has a function `main`")]
#[path = "../../../xs-client/examples/tokio_backend.rs"]
mod tokio_backend;

use std::thread;
use std::time::Duration;

use xs_client::XenbusState::{Closed, Connected, InitWait};
use xs_client::{ErrorKind, Result};
use xs_tests::{Context, HANG_TIMEOUT, on_every_backend};

/// Runs a backend beside the toolstack and the frontends. If the backend fails, the others end too.
fn run_beside(
    ctx: &Context,
    simulate: impl FnOnce() -> Result<()> + Send,
    toolstack: &xs_client::Client,
    serve: impl FnOnce() -> std::result::Result<usize, String>,
) {
    let (connections, simulated) = thread::scope(|scope| {
        let simulation = scope.spawn(simulate);
        let connections = serve();
        if connections.is_err() {
            toolstack.close();
        }
        (connections, simulation.join())
    });
    // Each device has connected twice.
    assert_eq!(connections, Ok(8));
    simulated.expect("the simulation does not panic").expect("the simulation ends");
    assert!(ctx.client.directory(ctx.path("backend")).is_ok());
}

on_every_backend! {
    fn event_loop_serves_four_devices_until_they_are_removed(ctx) {
        let toolstack = ctx.another();
        let simulation = event_loop::simulation::Simulation::new(&toolstack, ctx.root()).unwrap();
        run_beside(ctx, move || simulation.run(), &toolstack, || {
            event_loop::serve(&ctx.client, &ctx.path("backend")).map_err(|error| error.to_string())
        });
    }

    fn tokio_task_serves_four_devices_until_they_are_removed(ctx) {
        let toolstack = ctx.another();
        let simulation = tokio_backend::simulation::Simulation::new(&toolstack, ctx.root()).unwrap();
        run_beside(ctx, move || simulation.run(), &toolstack, || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            let root = ctx.path("backend");
            let serve = tokio_backend::serve(ctx.another(), &root);
            runtime.block_on(serve).map_err(|error| error.to_string())
        });
    }

    fn state_of_a_device_is_read_and_awaited(ctx) {
        let path = ctx.path("state");
        assert!(ctx.client.read_state(&path).unwrap_err().is_not_found());
        assert_eq!(ctx.client.read_state_opt(&path).unwrap(), None);
        assert!(ctx.client.switch_state(&path, InitWait).unwrap_err().is_not_found());
        assert!(!ctx.client.exists(&path).unwrap());
        let error = ctx.client.wait_for_state(&path, [Closed], Duration::from_millis(5)).unwrap_err();
        assert!(error.is_timeout(), "{error}");

        let other = ctx.another();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                ctx.client.wait_for_state(&path, [Connected, Closed], HANG_TIMEOUT)
            });
            other.write_display(&path, InitWait).unwrap();
            assert_eq!(other.read_state(&path).unwrap(), InitWait);
            other.switch_state(&path, Connected).unwrap();
            assert_eq!(waiting.join().unwrap().unwrap(), Connected);
        });

        for value in ["9", "", "four"] {
            ctx.client.write(&path, value).unwrap();
            for error in [
                ctx.client.read_state(&path).unwrap_err(),
                ctx.client.wait_for_state(&path, [Closed], HANG_TIMEOUT).unwrap_err(),
            ] {
                assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
                assert_eq!(error.path(), Some(&*path));
            }
        }
    }
}
