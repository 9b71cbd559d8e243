//! The switches of the daemon's log.

use std::fmt;

/// Each switch with its initial state.
const SWITCHES: [(&str, bool); 5] =
    [("obj", true), ("io", true), ("wrl", false), ("acc", false), ("tdb", false)];

/// The switches of the daemon's log. They have no effect, because there is no log.
#[derive(Debug)]
pub(crate) struct LogSwitches([bool; SWITCHES.len()]);

impl Default for LogSwitches {
    fn default() -> Self {
        LogSwitches(SWITCHES.map(|(_, is_on)| is_on))
    }
}

impl LogSwitches {
    /// Sets a switch. Returns whether it exists.
    pub(crate) fn set(&mut self, name: &[u8], is_on: bool) -> bool {
        let at = SWITCHES.iter().position(|(known, _)| known.as_bytes() == name);
        if let Some(at) = at {
            self.0[at] = is_on;
        }
        at.is_some()
    }
}

impl fmt::Display for LogSwitches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log switch settings:\n")?;
        for ((name, _), is_on) in SWITCHES.iter().zip(self.0) {
            writeln!(f, "{name:<8}: {}", if is_on { "on" } else { "off" })?;
        }
        Ok(())
    }
}
