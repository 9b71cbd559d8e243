//! Records the current operation of each actor, and guards against hanging.

use std::fs;
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xs_tests::HANG_TIMEOUT;

/// The actors of a storm.
#[derive(Debug, Default)]
pub(crate) struct Activities {
    entries: Mutex<Vec<Arc<Activity>>>,
}

/// The entry of one actor.
#[derive(Debug)]
pub(crate) struct Activity {
    name: String,
    now: Mutex<Option<(String, Instant)>>,
    operations: AtomicU64,
}

impl Activities {
    /// Adds an actor.
    pub(crate) fn join(&self, name: impl Into<String>) -> Arc<Activity> {
        let activity = Arc::new(Activity {
            name: name.into(),
            now: Mutex::new(None),
            operations: AtomicU64::new(0),
        });
        self.entries.lock().unwrap().push(activity.clone());
        activity
    }

    /// Returns how many operations all actors have made.
    pub(crate) fn operations(&self) -> u64 {
        let entries = self.entries.lock().unwrap();
        entries.iter().map(|activity| activity.operations.load(Ordering::Relaxed)).sum()
    }

    /// Removes the actors that are gone, and adds their operations to one entry.
    pub(crate) fn remove_former_actors(&self) {
        let mut entries = self.entries.lock().unwrap();
        let mut operations = 0;
        entries.retain(|activity| {
            let is_used = Arc::strong_count(activity) > 1;
            if !is_used {
                operations += activity.operations.load(Ordering::Relaxed);
            }
            is_used
        });
        entries.push(Arc::new(Activity {
            name: "former actors".into(),
            now: Mutex::new(None),
            operations: AtomicU64::new(operations),
        }));
    }

    /// Ends the process, with a report, if an operation takes longer than [`HANG_TIMEOUT`].
    fn check(&self) {
        let entries = self.entries.lock().unwrap();
        let hangs = |activity: &Arc<Activity>| {
            let now = activity.now.lock().unwrap();
            now.as_ref().is_some_and(|(_, since)| since.elapsed() > HANG_TIMEOUT)
        };
        if !entries.iter().any(hangs) {
            return;
        }
        let mut report = String::from("an operation hangs\n");
        for activity in &*entries {
            let now = activity.now.lock().unwrap();
            let doing =
                now.as_ref().map(|(what, since)| format!("{what} for {:?}", since.elapsed()));
            report += &format!("{}: {}\n", activity.name, doing.as_deref().unwrap_or("nothing"));
        }
        report += &threads();
        // The test harness captures what is printed, and the process ends here.
        let _ = io::stderr().write_all(report.as_bytes());
        process::abort();
    }
}

impl Activity {
    /// Runs an operation of the actor.
    pub(crate) fn run<T>(&self, what: impl Into<String>, operation: impl FnOnce() -> T) -> T {
        let before = self.now.lock().unwrap().replace((what.into(), Instant::now()));
        let result = operation();
        *self.now.lock().unwrap() = before;
        self.operations.fetch_add(1, Ordering::Relaxed);
        result
    }
}

/// The thread that looks for operations that hang. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Guard {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    pub(crate) fn start(activities: Arc<Activities>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                activities.check();
            }
        });
        Guard { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop = None;
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || thread::panicking());
    }
}

/// Returns what each thread of the process waits for, as the system sees it.
fn threads() -> String {
    let Ok(entries) = fs::read_dir("/proc/self/task") else { return String::new() };
    let mut report = String::new();
    for entry in entries.flatten() {
        let read = |file| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let number = entry.file_name();
        let (name, place, call) = (read("comm"), read("wchan"), read("syscall"));
        let number = number.to_string_lossy();
        report += &format!("thread {number} {}: {place}, {}\n", name.trim(), call.trim());
    }
    report
}
