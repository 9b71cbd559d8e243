//! A transport from nothing: requests and replies go through the standard input and output of a
//! program, such as `ssh host socat - UNIX-CONNECT:/run/xenstored/socket`.
//!
//!     cargo run -p xs-client --example custom_transport [COMMAND [ARGUMENT...]]
//!
//! Without a command, a socket pair to an in-memory xenstored takes the place of the program.

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use xs_client::{Client, DomId};
use xs_transport::mock::{Server, Xenstored};
use xs_transport::{Interest, Sent, Transport, Wait};

/// Sends through a writer. A thread receives from a reader, since a pipe cannot be asked whether a
/// read would block.
struct Pipes {
    writer: Mutex<Box<dyn Write + Send>>,
    received: Arc<Received>,
}

#[derive(Default)]
struct Received {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    has_ended: bool,
    is_woken: bool,
}

impl Pipes {
    fn new(mut reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Self {
        let received = Arc::new(Received::default());
        let receiver = received.clone();
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buf) {
                receiver.change(|state| state.bytes.extend(&buf[..n]));
            }
            receiver.change(|state| state.has_ended = true);
        });
        Pipes { writer: Mutex::new(Box::new(writer)), received }
    }
}

impl Received {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until there is something to receive, a wake-up if these count, or the deadline.
    fn wait(&self, deadline: Option<Instant>, until_woken: bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.bytes.is_empty() && !state.has_ended && !(until_woken && state.is_woken) {
            let Some(deadline) = deadline else {
                state = self.changed.wait(state).expect("no thread panics");
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).expect("no thread panics").0;
        }
        state.is_woken &= !until_woken;
        state
    }
}

impl Transport for Pipes {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let mut writer = self.writer.lock().expect("no thread panics");
        // This waits while the pipe is full. The thread that receives empties the other pipe
        // meanwhile, so the daemon goes on and the wait ends.
        writer.write_all(bytes)?;
        writer.flush()?;
        Ok(Sent::Bytes(bytes.len()))
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let mut state = match wait {
            Wait::No => self.received.lock(),
            Wait::Until(deadline) => self.received.wait(deadline, false),
            Wait::UntilWoken(deadline) => self.received.wait(deadline, true),
        };
        match state.bytes.read(buf)? {
            0 if state.has_ended => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        // Sending is always possible.
        if !interest.send() {
            drop(self.received.wait(deadline, true));
        }
        Ok(())
    }

    fn wake(&self) {
        self.received.change(|state| state.is_woken = true);
    }

    fn close(&self) {
        // The program sees the end of its input, and ends. Its last output is dropped.
        *self.writer.lock().expect("no thread panics") = Box::new(Closed);
        self.received.change(|state| state.has_ended = true);
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        // Only event loops and the drivers of tokio and smol need one.
        Err(io::ErrorKind::Unsupported.into())
    }

    fn describe(&self) -> String {
        "a pair of pipes".to_owned()
    }
}

/// A writer after the end of the connection.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipes").finish_non_exhaustive()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args_os().skip(1);
    let transport = match words.next() {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn()?;
            let (input, output) = (child.stdin.take(), child.stdout.take());
            thread::spawn(move || child.wait());
            Pipes::new(output.expect("is a pipe"), input.expect("is a pipe"))
        }
        None => {
            let stream = in_memory_daemon()?;
            Pipes::new(stream.try_clone()?, stream)
        }
    };

    let client = Client::from_transport(transport);
    client.write("data/greeting", "hello through pipes")?;
    println!("{}", client.read_str("data/greeting")?);
    let mut watch = client.watch("data/greeting")?;
    println!("{} has changed", watch.wait()?);
    // Several threads share the transport.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| drop(client.read("data/greeting"))));
        }
    });
    Ok(())
}

/// Starts an in-memory xenstored, and connects to its socket.
fn in_memory_daemon() -> Result<UnixStream, Box<dyn Error>> {
    let dir = env::temp_dir().join(format!("xs-custom-transport-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let mut server = Server::new(Xenstored::new())?;
    server.bind(dir.join("socket"), DomId::DOM0)?;
    thread::spawn(move || server.run());
    let stream = UnixStream::connect(dir.join("socket"))?;
    fs::remove_dir_all(&dir)?;
    Ok(stream)
}
