//! Uses the simulated device in any way. It must not panic, must not wait for an event that cannot
//! come, and must return whole messages.

#![no_main]

use std::io::ErrorKind;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use xs_proto::{Decoder, DomId, Header, MessageType, ReqId, TxId};
use xs_transport::mock::{Device, Kernel, Xenstored};

#[derive(Arbitrary, Debug)]
enum Call<'a> {
    Open,
    Close(u8),
    /// Any bytes.
    Write(u8, &'a [u8]),
    /// A message, and bytes that follow it in the same write.
    Request {
        device: u8,
        number: u8,
        tx_id: u8,
        payload: Payload<'a>,
        extra: &'a [u8],
    },
    Read(u8, u8),
    Resume,
    /// The toolstack changes a node that may be watched.
    Set(u8),
    Release,
}

#[derive(Arbitrary, Debug)]
enum Payload<'a> {
    Path(u8),
    Watch(u8, u8),
    End(bool),
    Any(&'a [u8]),
}

const PATHS: [&str; 5] =
    ["data", "data/a", "/local/domain/5/data", "@releaseDomain", "/local/domain/7"];

fuzz_target!(|input: (bool, Vec<Call<'_>>)| {
    let (old_replies, calls) = input;
    let xenstored = Xenstored::new();
    xenstored.seed("/local/domain/5/data [n5]").expect("the text form is valid");
    let mut kernel = Kernel::new(&xenstored, DomId::new(5));
    if old_replies {
        kernel = kernel.with_old_replies();
    }
    let mut open: Vec<(Device, Decoder)> = Vec::new();
    for call in calls {
        let count = open.len().max(1);
        let device = |which: u8| usize::from(which) % count;
        match call {
            Call::Open if open.len() < 4 => {
                open.push((
                    kernel.open().expect("descriptors are available"),
                    Decoder::for_client(),
                ));
            }
            Call::Open => {}
            Call::Close(which) if !open.is_empty() => drop(open.remove(device(which))),
            Call::Close(_) => {}
            Call::Write(which, bytes) => {
                if let Some((device, _)) = open.get(device(which)) {
                    write(device, bytes);
                }
            }
            Call::Request { device: which, number, tx_id, payload, extra } => {
                if let Some((device, _)) = open.get(device(which)) {
                    let payload = payload.bytes();
                    let header = Header {
                        msg_type: u32::from(number % 32),
                        req_id: ReqId(u32::from(number)),
                        tx_id: TxId(u32::from(tx_id % 4)),
                        len: payload.len() as u32,
                    };
                    write(device, &[&header.encode()[..], &payload, extra].concat());
                }
            }
            Call::Read(which, len) => {
                if let Some((device, decoder)) = open.get_mut(device(which)) {
                    read(device, decoder, usize::from(len) * 8);
                }
            }
            Call::Resume => kernel.resume(),
            Call::Set(which) => {
                let path = PATHS[usize::from(which) % 3].replace("data", "/local/domain/5/data");
                let _ = xenstored.set(path.trim_start_matches("/local/domain/5/"), "");
            }
            Call::Release => drop(xenstored.release(DomId::new(5))),
        }
    }
    for (device, decoder) in &mut open {
        while read(device, decoder, 4096) {}
    }
    drop(open);
    // Closing the devices removes their watches.
    assert!(kernel.open().is_ok());
    assert!(xenstored.watches(DomId::new(5)).is_empty() || kernel.spoiled() > 0);
});

fn write(device: &Device, bytes: &[u8]) {
    if let Ok(n) = device.write(bytes) {
        assert_eq!(n, bytes.len());
    }
}

/// Reads once. Returns whether there were any bytes.
fn read(device: &Device, decoder: &mut Decoder, len: usize) -> bool {
    let mut buf = vec![0; len];
    match device.read(&mut buf) {
        Ok(n) => {
            let mut bytes = &buf[..n];
            while !bytes.is_empty() {
                let decoded = decoder.decode(bytes).expect("the device returns valid messages");
                bytes = &bytes[decoded.consumed..];
                if let Some(frame) = decoded.frame {
                    assert!(MessageType::from_u32(frame.header.msg_type).is_some());
                }
            }
            n > 0
        }
        // A read that would never return is the error `Other`.
        Err(error) => {
            assert!([ErrorKind::WouldBlock, ErrorKind::Other].contains(&error.kind()));
            false
        }
    }
}

impl Payload<'_> {
    fn bytes(&self) -> Vec<u8> {
        let path = |which: &u8| PATHS[usize::from(*which) % PATHS.len()];
        match self {
            Payload::Path(which) => format!("{}\0", path(which)).into_bytes(),
            Payload::Watch(which, token) => {
                format!("{}\0{}\0", path(which), token % 4).into_bytes()
            }
            Payload::End(commit) => if *commit { b"T\0" } else { b"F\0" }.to_vec(),
            Payload::Any(bytes) => bytes.to_vec(),
        }
    }
}
