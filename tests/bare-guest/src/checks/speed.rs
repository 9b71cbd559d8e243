//! How long requests take.

use alloc::format;

use xs_proto::{Path, Reply, Request, TxId};

use super::ensure;
use crate::store::{Result, Store, unexpected};
use crate::{Options, print_line, xen};

/// Requests one by one.
pub fn round_trips(store: &mut Store, _: Options<'_>) -> Result<()> {
    const COUNT: u64 = 300;
    let begin = xen::nanoseconds();
    for _ in 0..COUNT {
        store.read("name")?;
    }
    let time = (xen::nanoseconds() - begin) / COUNT / 1000;
    print_line!("a round trip takes {time} us");
    store.write("data/round-trip", format!("{time}").as_bytes())
}

/// Reports again and again how long requests take, until `control/shutdown` is written. A report is
/// `NUMBER MEDIAN 95%`, in microseconds, of 200 requests: one in twenty took longer than the last figure.
pub fn latency(store: &mut Store, _: Options<'_>) -> Result<()> {
    let mut times = [0; 200];
    for number in 1.. {
        for time in &mut times {
            let begin = xen::nanoseconds();
            store.read("name")?;
            // The clocks of emulated processors differ a little.
            *time = xen::nanoseconds().saturating_sub(begin) / 1000;
        }
        times.sort_unstable();
        let report = format!("{number} {} {}", times[100], times[190]);
        store.write("data/latency", report.as_bytes())?;
        if store.read("control/shutdown").is_ok_and(|value| !value.is_empty()) {
            break;
        }
    }
    Ok(())
}

/// Many requests without waiting for replies: as many as the connection can have in flight.
pub fn pipelined(store: &mut Store, _: Options<'_>) -> Result<()> {
    const COUNT: usize = 10_000;
    let values = ["zero", "one", "two", "three"];
    for value in values {
        store.write(&format!("data/bare/{value}"), value.as_bytes())?;
    }
    let begin = xen::nanoseconds();
    let (mut submitted, mut answered, mut first_key) = (0, 0, 0);
    while answered < COUNT {
        while submitted < COUNT && submitted - answered < 4096 {
            let path = format!("data/bare/{}", values[submitted % values.len()]);
            let key = store.submit(TxId::NONE, &Request::Read(Path::new(&path)?))?;
            if submitted == 0 {
                first_key = key;
            }
            submitted += 1;
        }
        let (key, reply) = store.next_reply()?;
        let Reply::Value(value) = reply else {
            return Err(unexpected("read", "data/bare", &reply));
        };
        let expected = values[(key - first_key) as usize % values.len()];
        ensure(value == expected.as_bytes(), "a reply belongs to another request")?;
        answered += 1;
    }
    let time = (xen::nanoseconds() - begin) / COUNT as u64 / 1000;
    print_line!("a request takes {time} us if 4096 are in flight");
    store.write("data/pipelined", format!("{time}").as_bytes())?;
    store.remove("data/bare")
}
