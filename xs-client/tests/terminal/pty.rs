//! A program in a pseudoterminal, and the contents of its screen.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::host::Host;

/// A terminal of 12 lines in which `xs` runs.
pub(crate) struct Terminal {
    master: Box<dyn MasterPty>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Screen>,
    reading: Option<thread::JoinHandle<()>>,
}

struct Screen {
    parser: Mutex<vt100::Parser>,
    changed: Condvar,
}

const ROWS: u16 = 12;

/// Never expires in a passing test.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

impl Terminal {
    /// Starts `xs` with these arguments. The locale is `C.UTF-8`.
    pub(crate) fn start(host: &Host, columns: u16, args: &str) -> Self {
        Terminal::start_with(host, columns, env!("CARGO_BIN_EXE_xs"), args, "C.UTF-8")
    }

    pub(crate) fn start_with(
        host: &Host,
        columns: u16,
        program: &str,
        args: &str,
        locale: &str,
    ) -> Self {
        let pair = native_pty_system().openpty(size(columns)).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args.split(' ').filter(|arg| !arg.is_empty()));
        for (name, value) in [
            ("XENSTORED_PATH", host.socket().as_str()),
            ("TERM", "xterm"),
            ("LC_ALL", locale),
            ("XDG_STATE_HOME", host.dir.to_str().unwrap()),
        ] {
            command.env(name, value);
        }
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command).unwrap();
        // The terminal hangs up when the program has closed it, too.
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let parser = Mutex::new(vt100::Parser::new(ROWS, columns, 0));
        let screen = Arc::new(Screen { parser, changed: Condvar::new() });
        let shown = screen.clone();
        let reading = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(received @ 1..) = reader.read(&mut buffer) {
                // A test that fails leaves the lock poisoned.
                let Ok(mut parser) = shown.parser.lock() else { return };
                parser.process(&buffer[..received]);
                drop(parser);
                shown.changed.notify_all();
            }
        });
        let writer = pair.master.take_writer().unwrap();
        Terminal { master: pair.master, writer, child, screen, reading: Some(reading) }
    }

    pub(crate) fn type_text(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    pub(crate) fn resize(&mut self, columns: u16) {
        let mut parser = self.screen.parser.lock().unwrap();
        parser.set_size(ROWS, columns);
        // Only what the program draws for the new size is compared.
        parser.process(b"\x1b[2J");
        drop(parser);
        self.master.resize(size(columns)).unwrap();
    }

    /// Tells the program once more that the size has changed.
    pub(crate) fn signal_resize(&self) {
        let pid = self.child.process_id().unwrap().to_string();
        assert!(Command::new("kill").args(["-WINCH", &pid]).status().unwrap().success());
    }

    /// Waits until the screen shows a text.
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(|screen| screen.contents().contains(text), text);
    }

    /// Waits until the rows of the screen, without blanks at their ends, begin with these. Rows are
    /// compared up to a `…`.
    pub(crate) fn wait_for_screen(&self, rows: &[&str]) {
        self.wait_until(|screen| begins_with(screen, rows), &rows.join("\n"));
    }

    /// Repeats an action until the screen shows a text, in which rows have no blanks at their ends. For
    /// what is shown only for some seconds, which a slow machine may miss.
    pub(crate) fn repeat_until_shown(&self, text: &str, action: impl Fn()) {
        let deadline = Instant::now() + HANG_TIMEOUT;
        loop {
            let shown = rows(self.screen.parser.lock().unwrap().screen()).join("\n");
            if shown.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "expected:\n{text}\n\nshown:\n{shown}");
            action();
        }
    }

    fn wait_until(&self, is_reached: impl Fn(&vt100::Screen) -> bool, wanted: &str) {
        let parser = self.screen.parser.lock().unwrap();
        let waits = |parser: &mut vt100::Parser| !is_reached(parser.screen());
        let waited = self.screen.changed.wait_timeout_while(parser, HANG_TIMEOUT, waits);
        let (parser, timeout) = waited.unwrap();
        let shown = parser.screen().contents();
        assert!(!timeout.timed_out(), "expected:\n{wanted}\n\nshown:\n{shown}");
    }

    pub(crate) fn is_alternate(&self) -> bool {
        self.screen.parser.lock().unwrap().screen().alternate_screen()
    }

    pub(crate) fn color_at(&self, row: u16, column: u16) -> vt100::Color {
        let parser = self.screen.parser.lock().unwrap();
        parser.screen().cell(row, column).unwrap().fgcolor()
    }

    /// Waits until the program ends. Returns its exit status.
    pub(crate) fn wait(&mut self) -> u32 {
        let status = self.child.wait().unwrap().exit_code();
        // All output has come when nothing has the terminal open any more.
        self.reading.take().map(thread::JoinHandle::join);
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn begins_with(screen: &vt100::Screen, wanted: &[&str]) -> bool {
    let mut shown = rows(screen).into_iter();
    wanted.iter().all(|wanted| {
        let shown = shown.next().unwrap_or_default();
        match wanted.split_once('…') {
            Some((start, _)) => shown.starts_with(start),
            None => shown == *wanted,
        }
    })
}

/// Returns the rows of a screen, without blanks at their ends.
fn rows(screen: &vt100::Screen) -> Vec<String> {
    screen.rows(0, screen.size().1).map(|row| row.trim_end().to_owned()).collect()
}

fn size(columns: u16) -> PtySize {
    PtySize { rows: ROWS, cols: columns, pixel_width: 0, pixel_height: 0 }
}
