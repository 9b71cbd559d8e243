//! A way to the daemon that splits, interrupts, puts off and cuts at random: each call gives the
//! right answer or says that the connection is lost.
//!
//! `XS_TEST_SEED` chooses what happens; the seed is printed.

use std::env;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId, EventKind, Result};
use xs_proto::Limits;
use xs_transport::mock::{Kernel, Xenstored};
use xs_transport::{Interest, Sent, Transport, Wait};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Rough<T> {
    way: T,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: u64,
    /// The connection is cut after so many more bytes, sent or received.
    left: usize,
}

impl State {
    /// A number below `n` (xorshift64).
    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % n
    }
}

impl<T: Transport> Rough<T> {
    /// How many of `len` bytes may pass, if any do.
    fn roll(&self, len: usize) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        let n = match state.below(10) {
            0 => return Err(io::ErrorKind::Interrupted.into()),
            1 => return Err(io::ErrorKind::WouldBlock.into()),
            2..5 => 1 + state.below(3),
            5..8 => 1 + state.below(len),
            _ => len,
        };
        let n = n.min(len).min(state.left);
        state.left -= n;
        Ok(n)
    }
}

impl<T: Transport> Transport for Rough<T> {
    fn limits(&self) -> Limits {
        self.way.limits()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        match self.roll(bytes.len()) {
            Ok(0) => Err(io::ErrorKind::BrokenPipe.into()),
            Ok(n) => self.way.send(&bytes[..n]),
            // No way is full as long as nothing is on it.
            Err(_) => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let len = buf.len();
        match self.roll(len)? {
            0 => Ok(0),
            n => self.way.recv(&mut buf[..n], wait),
        }
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.way.wait(interest, deadline)
    }

    fn wake(&self) {
        self.way.wake();
    }

    fn close(&self) {
        self.way.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.way.fd()
    }

    fn describe(&self) -> String {
        self.way.describe()
    }
}

/// One thread's use of a client, with all answers known beforehand.
fn use_it(client: &Client, name: &str) -> Result<()> {
    let path = format!("/tool/{name}");
    let mut watch = client.watch(&path)?;
    for round in 0..4 {
        client.write_display(&path, round)?;
        assert_eq!(client.read_parsed::<u32>(&path)?, round);
        let children: Vec<_> = (0..10).map(|at| format!("{path}/{at}")).collect();
        client
            .write_many(children.iter().map(|child| (child, child)))
            .into_iter()
            .collect::<Result<()>>()?;
        for (child, value) in children.iter().zip(client.read_many(&children)) {
            assert_eq!(value?, child.as_bytes());
        }
        let sum = client.transaction(|tx| {
            let sum = tx.read_parsed::<u32>(&path)? + 1;
            tx.write_display(&path, sum)?;
            Ok(sum)
        })?;
        assert_eq!((sum, client.read_parsed::<u32>(&path)?), (round + 1, round + 1));
        assert_eq!(client.directory(&path)?.len(), 10);
        let mut events = 0;
        while let Some(event) = watch.try_next()? {
            assert!(event.path.starts_with(&path) && event.kind == EventKind::Fired);
            events += 1;
        }
        assert!(round > 0 || events > 0);
        client.rm(&children[0])?;
        let error = client.read(&children[0]).unwrap_err();
        if !error.is_not_found() {
            return Err(error);
        }
        client.write(&children[0], "")?;
    }
    watch.remove()
}

fn go(way: impl Transport + 'static, random: u64, left: usize) -> bool {
    let state = Mutex::new(State { random, left });
    let client = Client::builder().timeout(PATIENCE).over(Rough { way, state });
    thread::scope(|scope| {
        let users = ["a", "b", "c"].map(|name| {
            let client = &client;
            scope.spawn(move || use_it(client, name))
        });
        let mut whole = true;
        for user in users {
            if let Err(error) = user.join().unwrap() {
                assert!(error.is_lost(), "{error}");
                whole = false;
            }
        }
        whole
    })
}

#[test]
fn the_right_answer_or_a_lost_connection() {
    let seed = match env::var("XS_TEST_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => u64::from(std::process::id()),
    };
    println!("XS_TEST_SEED={seed}");
    let mut random = State { random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, left: 0 };
    for round in 0..60 {
        let left = if round % 3 == 0 { usize::MAX } else { random.below(30_000) };
        let xenstored = Xenstored::new();
        let number = random.random;
        let whole = match round % 2 {
            0 => go(xenstored.connect(DomId::DOM0), number, left),
            _ => {
                let device = Kernel::new(&xenstored, DomId::DOM0).open().unwrap();
                go(device.transport().unwrap(), number, left)
            }
        };
        assert!(whole || left != usize::MAX, "nobody cut it");
        random.below(2);
    }
}
