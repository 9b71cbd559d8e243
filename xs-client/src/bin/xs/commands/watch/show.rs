//! The text of a change.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Watch;
use super::values::{Change, Kind};
use crate::escape::Form;
use crate::json::Object;
use crate::output::Output;
use crate::terminal;

/// The options for printing changes.
pub(super) struct Show {
    json: bool,
    timestamps: bool,
    form: Form,
}

impl Show {
    pub(super) fn new(watch: &Watch) -> Self {
        Show { json: watch.json, timestamps: watch.timestamps, form: terminal::form() }
    }

    /// Prints a change, and flushes the output.
    pub(super) fn print(&self, change: &Change, output: &mut Output) -> io::Result<()> {
        let time = self.timestamps.then(|| utc(SystemTime::now()));
        let line = match self.json {
            true => json(change, time),
            false => self.text(change, time),
        };
        output.write_all(line.as_bytes())?;
        output.flush()
    }

    fn text(&self, change: &Change, time: Option<String>) -> String {
        let value = |value: &Option<Vec<u8>>| match value {
            Some(value) => format!("\"{}\"", self.form.text(value).replace('"', "\\\"")),
            None => "(none)".to_owned(),
        };
        let mut line = time.map(|time| time + " ").unwrap_or_default();
        line.extend(change.path.escape_debug());
        match (&change.old, &change.new) {
            (Some(old), Some(new)) if old == new => {
                line += &format!(": {} (unchanged)", value(new))
            }
            (Some(old), Some(new)) => line += &format!(": {} -> {}", value(old), value(new)),
            (None, Some(new)) => line += &format!(": {}", value(new)),
            _ => {}
        }
        line + "\n"
    }
}

fn json(change: &Change, time: Option<String>) -> String {
    let mut object = Object::new();
    if let Some(time) = time {
        object = object.string("time", &time);
    }
    let event = match change.kind {
        Kind::Start => "start",
        Kind::Change => "change",
        Kind::Overflow => "overflow",
        Kind::Reconnected => "reconnected",
    };
    object = object.string("event", event).string("path", &change.path);
    object = object.string("watched", &change.watched);
    for (name, value) in [("old", &change.old), ("new", &change.new)] {
        object = match value {
            Some(Some(value)) => object.value(name, value),
            Some(None) => object.raw(name, "null"),
            None => object,
        };
    }
    object.line()
}

/// Returns a time as in RFC 3339, in UTC and with milliseconds.
fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86400, since.as_secs() % 86400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Returns the date (year, month and day) that is `days` days after 1 January 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_in_rfc_3339() {
        for (millis, wanted) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_825_599_999, "2000-02-29T11:59:59.999Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400_001, "2100-03-01T00:00:00.001Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_millis(millis)), wanted);
        }
    }
}
