//! Measures a request through `ClientConnection`, from `submit` to its reply, with different numbers
//! of requests in flight.

mod side_by_side;

use std::hint::black_box;

use side_by_side::{Contender, compare};
use xs_proto::{ClientConnection, Header, Limits, MessageType, Path, ReqId, Request, TxId};

const COUNT: usize = 4096;

fn main() {
    let path = Path::new("/local/domain/5/device/vif/0/state").expect("a valid path");
    let request = &Request::Read(path);
    let contenders = [
        ("1 in flight", 1, false),
        ("64 in flight", 64, false),
        ("64 in flight, last answered first", 64, true),
        ("4096 in flight", 4096, false),
        ("4096 in flight, last first", 4096, true),
    ];
    let contenders = contenders.map(|(name, in_flight, reverse)| -> Contender<'_> {
        let mut client = ClientConnection::new(Limits::default());
        let (mut ids, mut replies) = (Vec::new(), Vec::new());
        (
            name,
            Box::new(move || {
                for _ in 0..COUNT / in_flight {
                    round(&mut client, request, in_flight, reverse, &mut ids, &mut replies);
                }
            }),
        )
    });
    let bytes = COUNT * (path.as_str().len() + 1 + 1 + 2 * Header::LEN);
    compare("a READ through ClientConnection and back", COUNT, bytes, contenders.into());
}

/// Submits `in_flight` requests, takes the output, and receives a reply of one byte to each.
fn round(
    client: &mut ClientConnection<usize>,
    request: &Request<'_>,
    in_flight: usize,
    reverse: bool,
    ids: &mut Vec<ReqId>,
    replies: &mut Vec<u8>,
) {
    replies.clear();
    let mut reply = |req_id: &ReqId| {
        let req_id = *req_id;
        let header =
            Header { msg_type: MessageType::Read as u32, req_id, tx_id: TxId::NONE, len: 1 };
        replies.extend_from_slice(&header.encode());
        replies.push(b'4');
    };
    ids.clear();
    ids.extend(
        (0..in_flight)
            .map(|key| client.submit(TxId::NONE, black_box(request), key).expect("there is room")),
    );
    match reverse {
        false => ids.iter().for_each(&mut reply),
        true => ids.iter().rev().for_each(&mut reply),
    }
    black_box(client.take_output());
    let mut input = black_box(replies.as_slice());
    while !input.is_empty() {
        let received = client.receive(input).expect("valid replies");
        black_box(&received.event);
        input = &input[received.consumed..];
    }
}
