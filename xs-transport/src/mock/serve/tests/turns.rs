//! Tests of fairness, counted in turns.

use std::time::Duration;

use mio::Events;

use super::*;
use crate::mock::serve::server::ACCEPTED_MAX;

/// A server that runs in the test's thread, one turn after the other.
struct Stepped {
    server: Server,
    events: Events,
    dir: PathBuf,
}

impl Stepped {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xs-turns-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut server = Server::new(Xenstored::new()).unwrap();
        server.bind(dir.join("socket"), DomId::DOM0).unwrap();
        Stepped { server, events: Events::with_capacity(64), dir }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.join("socket")).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// Connects, and runs until the server is idle.
    fn connect_and_settle(&mut self) -> UnixStream {
        let stream = self.connect();
        for _ in 0..10 {
            self.turn();
        }
        assert_eq!(self.server.turns.len(), 0, "the server is idle");
        stream
    }

    /// Polls without waiting, and runs one turn.
    fn turn(&mut self) {
        self.server.collect(&mut self.events, Some(Duration::ZERO)).unwrap();
        self.server.turn();
    }

    fn accepted(&self) -> usize {
        self.server.xenstored().connections(DomId::DOM0).len()
    }

    /// Returns after how many turns the client has received something. `before` runs before each.
    fn turns_until_readable(
        &mut self,
        mut client: &UnixStream,
        mut before: impl FnMut(&Self),
    ) -> usize {
        for turns in 0..1000 {
            if client.read(&mut [0; 64]).is_ok() {
                return turns;
            }
            before(self);
            self.turn();
        }
        panic!("the client is not served");
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn read_request() -> Vec<u8> {
    message(MessageType::Read, b"/tool\0")
}

#[test]
fn flood_of_connects_delays_a_client_by_one_turn() {
    crate::sys::allow_open_files(2_500).expect("enough descriptors");
    let mut stepped = Stepped::new("connects");
    let client = stepped.connect_and_settle();
    let mut flood: Vec<_> = (0..500).map(|_| stepped.connect()).collect();
    // The listener and the first clients of the flood wait for their turn.
    stepped.turn();
    let others = stepped.server.turns.len();
    (&client).write_all(&read_request()).unwrap();
    let turns = stepped.turns_until_readable(&client, |stepped| {
        // More clients connect than the server accepts, as far as there are descriptors.
        let more = (2 * ACCEPTED_MAX).min(1000 - flood.len());
        flood.extend((0..more).map(|_| stepped.connect()));
    });
    assert!(turns <= others + 1, "{turns} turns");
    let accepted = stepped.accepted() - 1;
    assert!(accepted <= 2 * ACCEPTED_MAX, "{accepted} clients accepted meanwhile");
}

#[test]
fn flood_of_requests_delays_other_clients_by_one_turn() {
    let mut stepped = Stepped::new("requests");
    let busy: Vec<_> = (0..3).map(|_| stepped.connect_and_settle()).collect();
    let client = stepped.connect_and_settle();
    let flood = read_request().repeat(1000);
    let pour = |_: &Stepped| {
        for mut busy in &busy {
            while busy.write(&flood).is_ok_and(|n| n == flood.len()) {}
            while busy.read(&mut [0; 64 << 10]).is_ok() {}
        }
    };
    pour(&stepped);
    for _ in 0..10 {
        stepped.turn();
        pour(&stepped);
    }
    (&client).write_all(&read_request()).unwrap();
    assert!(stepped.turns_until_readable(&client, pour) <= busy.len() + 1);

    // So does a new connection.
    let new = stepped.connect();
    (&new).write_all(&read_request()).unwrap();
    let turns = stepped.turns_until_readable(&new, pour);
    assert!(turns <= 2 * (busy.len() + 2), "{turns} turns");
}

#[test]
fn stop_takes_effect_at_the_next_turn() {
    let mut stepped = Stepped::new("stop");
    let flood: Vec<_> = (0..200).map(|_| stepped.connect()).collect();
    for _ in 0..20 {
        stepped.turn();
    }
    assert!(stepped.server.turns.len() > 2);
    let before = stepped.server.turns.len();
    stepped.server.stop_handle().stop();
    stepped.server.round();
    assert_eq!(stepped.server.turns.len(), before, "no turn is taken");
    stepped.server.run().unwrap();
    drop(flood);
}
