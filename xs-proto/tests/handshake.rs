//! The machines of the handshake: single cases, and all courses that a pair of them can take.

use std::collections::HashMap;

use xs_proto::XenbusState::{
    self, Closed, Closing, Connected, InitWait, Initialised, Initialising, Unknown,
};
use xs_proto::handshake::{Action, Backend, BackendNodes, Frontend, FrontendNodes};

/// Gives a backend its nodes, and carries out its actions.
fn run(
    backend: &mut Backend,
    state: impl Into<Option<XenbusState>>,
    frontend_state: impl Into<Option<XenbusState>>,
    online: bool,
) -> Vec<Action> {
    let (state, frontend_state) = (state.into(), frontend_state.into());
    backend.handle_nodes(BackendNodes { state, frontend_state, online });
    std::iter::from_fn(|| backend.poll_action().inspect(|_| backend.handle_done(true))).collect()
}

/// Returns a backend that is connected.
fn connected() -> Backend {
    let mut backend = Backend::new();
    let actions = run(&mut backend, InitWait, Initialised, true);
    assert_eq!(actions, [Action::Connect, Action::Write(Connected)]);
    assert!(backend.is_connected());
    backend
}

#[test]
fn frontend_that_connects_at_once_is_accepted() {
    let mut backend = Backend::new();
    let actions = run(&mut backend, Initialising, Initialising, true);
    assert_eq!(actions, [Action::Write(InitWait)]);
    let actions = run(&mut backend, InitWait, Connected, true);
    assert_eq!(actions, [Action::Connect, Action::Write(Connected)]);
}

#[test]
fn closed_frontend_reconnects_while_backend_is_online() {
    let mut backend = connected();
    let actions = run(&mut backend, Connected, Closing, true);
    assert_eq!(actions, [Action::Disconnect, Action::Write(Closing)]);
    assert_eq!(run(&mut backend, Closing, Closed, true), [Action::Write(Closed)]);
    assert_eq!(run(&mut backend, Closed, Initialising, true), [Action::Write(InitWait)]);
    let actions = run(&mut backend, InitWait, Initialised, true);
    assert_eq!(actions, [Action::Connect, Action::Write(Connected)]);
}

#[test]
fn missed_states_do_no_harm() {
    // The frontend closed and began anew.
    let actions = run(&mut connected(), Connected, Initialising, true);
    assert_eq!(actions, [Action::Disconnect, Action::Write(InitWait)]);
    // The guest was destroyed and its nodes removed.
    let actions = run(&mut connected(), Connected, None, false);
    assert_eq!(actions, [Action::Disconnect, Action::Write(Closed), Action::Remove]);
    assert_eq!(run(&mut connected(), Connected, Connected, true), []);
}

#[test]
fn removal_waits_for_connected_frontend_only() {
    let mut backend = connected();
    assert_eq!(run(&mut backend, Closing, Connected, false), []);
    let actions = run(&mut backend, Closing, Closed, false);
    assert_eq!(actions, [Action::Disconnect, Action::Write(Closed), Action::Remove]);
    // Nothing more is asked for.
    assert_eq!(run(&mut backend, Initialising, Initialising, true), []);

    let mut never_connected = Backend::new();
    let actions = run(&mut never_connected, Closing, Initialising, false);
    assert_eq!(actions, [Action::Write(Closed), Action::Remove]);
}

#[test]
fn nothing_is_written_once_the_node_is_gone() {
    let actions = run(&mut connected(), None, Connected, false);
    assert_eq!(actions, [Action::Disconnect, Action::Remove]);
    assert_eq!(run(&mut Backend::new(), None, None, true), [Action::Remove]);
}

#[test]
fn restarted_backend_connects_to_present_frontend() {
    assert_eq!(run(&mut Backend::new(), Connected, Connected, true), [Action::Connect]);
}

#[test]
fn failed_connection_closes_until_frontend_begins_anew() {
    let mut backend = Backend::new();
    let nodes = |state, frontend| BackendNodes {
        state: Some(state),
        frontend_state: Some(frontend),
        online: true,
    };
    backend.handle_nodes(nodes(InitWait, Initialised));
    assert_eq!(backend.poll_action(), Some(Action::Connect));
    assert_eq!(backend.poll_action(), None, "the action is not done");
    backend.handle_done(false);
    assert_eq!(backend.poll_action(), Some(Action::Write(Closing)));
    assert_eq!(backend.poll_action(), None);
    assert_eq!(run(&mut backend, Closing, Closed, true), [Action::Write(Closed)]);
    assert_eq!(run(&mut backend, Closed, Initialising, true), [Action::Write(InitWait)]);
    let actions = run(&mut backend, InitWait, Initialised, true);
    assert_eq!(actions, [Action::Connect, Action::Write(Connected)]);
}

#[test]
fn change_during_an_action_is_seen_after_it() {
    let mut backend = Backend::new();
    let nodes = |frontend| BackendNodes {
        state: Some(InitWait),
        frontend_state: Some(frontend),
        online: true,
    };
    backend.handle_nodes(nodes(Initialised));
    assert_eq!(backend.poll_action(), Some(Action::Connect));
    backend.handle_nodes(nodes(Closed));
    assert_eq!(backend.poll_action(), None);
    backend.handle_done(true);
    assert_eq!(backend.poll_action(), Some(Action::Disconnect));
    backend.handle_done(true);
    assert_eq!(backend.poll_action(), Some(Action::Write(Closed)));
}

#[test]
fn late_failure_does_not_close_frontend_that_begins_anew() {
    let mut backend = Backend::new();
    let nodes = |frontend_state| BackendNodes {
        state: Some(InitWait),
        frontend_state: Some(frontend_state),
        online: true,
    };
    backend.handle_nodes(nodes(Initialised));
    assert_eq!(backend.poll_action(), Some(Action::Connect));
    // The guest is started again, and its pages are gone.
    backend.handle_nodes(nodes(Initialising));
    backend.handle_done(false);
    assert_eq!(backend.poll_action(), None);
    let actions = run(&mut backend, InitWait, Initialised, true);
    assert_eq!(actions, [Action::Connect, Action::Write(Connected)]);
}

/// Gives a frontend its nodes, and carries out its actions.
fn run_frontend(frontend: &mut Frontend, state: XenbusState, backend: XenbusState) -> Vec<Action> {
    let (state, backend_state) = (Some(state), Some(backend));
    frontend.handle_nodes(FrontendNodes { state, backend_state });
    std::iter::from_fn(|| frontend.poll_action().inspect(|_| frontend.handle_done(true))).collect()
}

#[test]
fn frontend_publishes_before_it_connects() {
    let mut frontend = Frontend::new();
    let mut run = |state, backend| run_frontend(&mut frontend, state, backend);
    assert_eq!(run(Initialising, Initialising), []);
    assert_eq!(run(Initialising, InitWait), [Action::Publish, Action::Write(Initialised)]);
    assert_eq!(run(Initialised, InitWait), []);
    assert_eq!(run(Initialised, Connected), [Action::Connect, Action::Write(Connected)]);
    let closed = [Action::Write(Closing), Action::Disconnect, Action::Write(Closed)];
    assert_eq!(run(Connected, Closing), closed);
    assert_eq!(run(Closed, InitWait), [], "it stays closed");
    // The toolstack adds the device again.
    assert_eq!(run(Initialising, InitWait), [Action::Publish, Action::Write(Initialised)]);
}

#[test]
fn restart_waits_until_the_backend_has_closed() {
    let mut frontend = Frontend::new();
    frontend.restart();
    for backend in [InitWait, Connected, Closing] {
        assert_eq!(run_frontend(&mut frontend, Closed, backend), []);
    }
    assert_eq!(run_frontend(&mut frontend, Closed, Closed), [Action::Write(Initialising)]);
}

#[test]
fn frontend_that_is_closed_twice_can_begin_anew() {
    let mut frontend = Frontend::new();
    assert_eq!(run_frontend(&mut frontend, Closed, Closed), []);
    frontend.close();
    assert_eq!(frontend.poll_action(), None);
    let begun = [Action::Publish, Action::Write(Initialised)];
    // The toolstack adds the device again.
    assert_eq!(run_frontend(&mut frontend.clone(), Initialising, InitWait), begun);
    frontend.restart();
    assert_eq!(frontend.poll_action(), Some(Action::Write(Initialising)));
    assert_eq!(run_frontend(&mut frontend, Initialising, InitWait), begun);
}

/// A pair of ends, the nodes between them, and the number of events to come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    backend: Backend,
    frontend: Frontend,
    nodes: Nodes,
    /// The ends carry out an action.
    is_busy: [bool; 2],
    is_removed: [bool; 2],
    wish: Option<Wish>,
    /// How many events from outside may still come.
    events: usize,
}

/// The state that the frontend has to reach. `None` if both are possible: an action has failed, or
/// the backend may still answer a system that no longer runs. The nodes do not tell the frontend
/// which system an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wish {
    Connected,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Nodes {
    backend: Option<XenbusState>,
    frontend: Option<XenbusState>,
    online: bool,
}

const BACKEND: usize = 0;
const FRONTEND: usize = 1;

impl World {
    fn new(events: usize) -> Self {
        let state = Some(Initialising);
        World {
            backend: Backend::new(),
            frontend: Frontend::new(),
            nodes: Nodes { backend: state, frontend: state, online: true },
            is_busy: [false; 2],
            is_removed: [false; 2],
            wish: Some(Wish::Connected),
            events,
        }
    }

    /// Returns the worlds that one step of an end leads to.
    fn steps(&self) -> Vec<World> {
        let Nodes { backend, frontend, online } = self.nodes;
        let mut steps = Vec::new();
        let mut step = |step: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            step(&mut next);
            if next != *self {
                steps.push(next);
            }
        };
        step(&|next| {
            let nodes = BackendNodes { state: backend, frontend_state: frontend, online };
            next.backend.handle_nodes(nodes);
        });
        step(&|next| {
            let nodes = FrontendNodes { state: frontend, backend_state: backend };
            next.frontend.handle_nodes(nodes);
        });
        step(&|next| {
            let action = next.backend.poll_action();
            next.begin(BACKEND, action);
        });
        step(&|next| {
            let action = next.frontend.poll_action();
            next.begin(FRONTEND, action);
        });
        for end in [BACKEND, FRONTEND] {
            if self.is_busy[end] {
                step(&|next| next.finish(end, true));
            }
        }
        // The toolstack removes what is closed.
        if backend == Some(Closed) && !online {
            step(&|next| (next.nodes.backend, next.nodes.frontend) = (None, None));
        }
        steps
    }

    fn begin(&mut self, end: usize, action: Option<Action>) {
        match action {
            Some(Action::Write(state)) => {
                let node = match end {
                    BACKEND => &mut self.nodes.backend,
                    _ => &mut self.nodes.frontend,
                };
                if let Some(node) = node {
                    *node = state;
                }
            }
            Some(Action::Remove) => self.is_removed[end] = true,
            Some(_) => self.is_busy[end] = true,
            None => {}
        }
    }

    fn finish(&mut self, end: usize, succeeded: bool) {
        self.is_busy[end] = false;
        match end {
            BACKEND => self.backend.handle_done(succeeded),
            _ => self.frontend.handle_done(succeeded),
        }
    }

    /// Returns the worlds that an event from outside leads to.
    fn events(&self) -> Vec<World> {
        let mut worlds = Vec::new();
        let mut event = |event: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            next.events -= 1;
            event(&mut next);
            worlds.push(next);
        };
        if self.events == 0 {
            return worlds;
        }
        event(&|next| {
            next.frontend.close();
            next.wish = Some(Wish::Closed);
        });
        event(&|next| {
            next.frontend.restart();
            let is_at_rest = self.steps().is_empty();
            if is_at_rest || next.wish.is_some() {
                next.wish = Some(Wish::Connected);
            }
        });
        for end in [BACKEND, FRONTEND] {
            if self.is_busy[end] {
                event(&|next| {
                    next.finish(end, false);
                    next.wish = next.wish.filter(|wish| *wish == Wish::Closed);
                });
            }
        }
        if self.nodes.backend.is_none() {
            return worlds;
        }
        // The toolstack asks for the removal, or removes without asking.
        if self.nodes.online {
            event(&|next| (next.nodes.backend, next.nodes.online) = (Some(Closing), false));
        }
        event(&|next| (next.nodes.backend, next.nodes.frontend) = (None, None));
        event(&|next| next.nodes.frontend = None);
        // The program of the backend is started again.
        if !self.is_removed[BACKEND] {
            event(&|next| {
                next.backend = Backend::new();
                next.is_busy[BACKEND] = false;
            });
        }
        // Another system is started in the guest.
        if self.nodes.frontend.is_some() {
            event(&|next| {
                next.frontend = Frontend::new();
                next.is_busy[FRONTEND] = false;
                next.nodes.frontend = Some(Initialising);
                let may_be_late = next.nodes.backend == Some(InitWait);
                next.wish = (!may_be_late).then_some(Wish::Connected);
            });
        }
        worlds
    }

    /// Checks a world in which nothing happens any more.
    fn check_rest(&self) {
        let Nodes { backend, frontend, online } = self.nodes;
        let are_up = self.backend.is_connected() && self.frontend.is_connected();
        let are_down = !self.backend.is_connected() && !self.frontend.is_connected();
        assert_eq!(self.is_busy, [false; 2], "{self:?}");
        let is_good = match (backend, frontend) {
            (None, _) => are_down && self.is_removed[BACKEND],
            (Some(Connected), Some(Connected)) => are_up && self.wish != Some(Wish::Closed),
            (Some(Closed), Some(Closed)) => {
                are_down && online && self.wish != Some(Wish::Connected)
            }
            (Some(Closed), None) => are_down && online,
            _ => false,
        };
        assert!(is_good, "the ends are stuck: {self:?}");
    }

    /// Checks what always holds.
    fn check(&self) {
        let Nodes { backend, frontend, .. } = self.nodes;
        let is_new = |end| match end {
            BACKEND => self.backend == Backend::new(),
            _ => self.frontend == Frontend::new(),
        };
        // An end says that it is connected only if it is, unless it was started again since.
        if self.events == EVENTS {
            assert!(backend != Some(Connected) || self.backend.is_connected() || is_new(BACKEND));
            assert!(
                frontend != Some(Connected) || self.frontend.is_connected() || is_new(FRONTEND)
            );
        }
        assert!(backend != Some(Unknown) && frontend != Some(Unknown));
    }
}

/// The number of events from outside in each course. With four, a frontend can close and restart
/// twice before the backend notices, and take the answer to the first restart for the second one's.
const EVENTS: usize = 3;

/// Visits all courses, and returns the number of worlds.
///
/// # Panics
/// Panics if a course never ends, or ends badly.
fn visit(world: World, is_done: &mut HashMap<World, bool>) {
    // The depth is that of the longest course.
    match is_done.get(&world) {
        Some(true) => return,
        Some(false) => panic!("the ends never come to rest: {world:?}"),
        None => {}
    }
    world.check();
    is_done.insert(world.clone(), false);
    let steps = world.steps();
    if steps.is_empty() {
        world.check_rest();
    }
    for next in steps.into_iter().chain(world.events()) {
        visit(next, is_done);
    }
    is_done.insert(world, true);
}

#[test]
fn each_course_of_a_pair_ends_well() {
    let visiting = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
        let mut is_done = HashMap::new();
        visit(World::new(EVENTS), &mut is_done);
        is_done.len()
    });
    let worlds = visiting.unwrap().join().unwrap();
    assert!(worlds > 1000, "{worlds} worlds");
    println!("{worlds} worlds");
}
