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
    print_line!("a round trip takes {} us", (xen::nanoseconds() - begin) / COUNT / 1000);
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
    store.remove("data/bare")
}
