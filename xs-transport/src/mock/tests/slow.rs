//! Clients that do not read.

use super::*;

#[test]
fn slow_clients_are_stalled_and_delay_no_other() {
    let xenstored = Xenstored::new();
    let mut other = Client::new(&xenstored, 0);
    other.write("/big", &"x".repeat(4000));
    let pipe = xenstored.connect(DomId::DOM0);
    let header = Header { msg_type: 2, req_id: ReqId(1), tx_id: TxId::NONE, len: 5 };
    let read = [&header.encode()[..], b"/big\0"].concat();
    let mut sent = 0;
    while let Ok(Sent::Bytes(n)) = pipe.send(&read) {
        assert_eq!(n, read.len());
        sent += 1;
        assert!(sent < 2000, "the client is not stalled");
    }
    assert!(sent >= 250);
    assert_eq!(other.read_value("/tool"), "");
    let mut received = 0;
    let mut buf = vec![0; 1 << 20];
    while let Ok(n) = pipe.recv(&mut buf, Wait::No) {
        received += n;
    }
    assert_eq!(received, sent * 4016);
    assert!(pipe.send(&read).is_ok());
}

#[test]
fn events_for_slow_clients_coalesce() {
    let xenstored = Xenstored::new();
    let mut watcher = Client::new(&xenstored, 0);
    let mut writer = Client::new(&xenstored, 0);
    watcher.watch("/", "t");
    watcher.events();
    for _ in 0..20_000 {
        writer.write("/a", "");
    }
    let events = watcher.events().len();
    assert!((1000..10_000).contains(&events), "{events}");
}

#[cfg(unix)]
#[test]
fn descriptor_is_readable_while_output_waits() {
    use std::time::{Duration, Instant};
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    let is_readable = |pipe: &Pipe| {
        let fd = pipe.fd().unwrap();
        crate::sys::poll([(fd, libc::POLLIN)], Some(Instant::now())).unwrap()[0] != 0
    };
    assert!(!is_readable(&dom0.pipe));
    dom0.watch("/a", "t");
    assert!(!is_readable(&dom0.pipe));
    xenstored.set("/a", "").unwrap();
    assert!(is_readable(&dom0.pipe));
    dom0.events();
    assert!(!is_readable(&dom0.pipe));
    xenstored.shut_down(DomId::DOM0);
    let soon = Instant::now() + Duration::from_millis(1);
    dom0.pipe.wait(crate::Interest::Receive, Some(soon)).unwrap();
    dom0.pipe.close();
    assert!(is_readable(&dom0.pipe));
}
