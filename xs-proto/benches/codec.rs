//! Measures encoding and decoding, and compares them with copying the same bytes.

mod side_by_side;

use std::hint::black_box;

use bytes::BytesMut;
use side_by_side::{Contender, compare};
use xs_proto::{
    ClientConnection, Decoder, Header, Limits, MessageType, PAYLOAD_MAX, Path, Reply, ReqId,
    Request, TxId,
};

const PATH: &str = "/local/domain/5/device/vif/0/state";
const COUNT: usize = 1000;

fn main() {
    let path = Path::new(PATH).expect("a valid path");
    let value = [b'x'; 4000];
    requests("READ of a usual path", &Request::Read(path));
    requests("WRITE of 4000 bytes", &Request::Write { path, value: &value });
    replies("a value of 1 byte", MessageType::Read, &Reply::Value(value[..1].into()));
    replies("a value of 4000 bytes", MessageType::Read, &Reply::Value(value[..].into()));
    let names = b"backend-id\0".repeat(300);
    let names = Reply::decode(MessageType::Directory, &names).expect("names");
    replies("a directory of 300 names", MessageType::Directory, &names);

    let long = format!("/{}", "longer/".repeat(400).trim_end_matches('/'));
    let copy = |text: &'static str| -> Contender<'static> {
        let mut out = vec![0; text.len()];
        (
            "memcpy",
            Box::new(move || {
                for _ in 0..COUNT {
                    out.copy_from_slice(black_box(text.as_bytes()));
                    black_box(&out);
                }
            }),
        )
    };
    for text in [PATH, long.leak()] {
        compare(
            &format!("a path of {} bytes", text.len()),
            COUNT,
            COUNT * text.len(),
            vec![
                copy(text),
                (
                    "Path::new",
                    Box::new(|| {
                        for _ in 0..COUNT {
                            black_box(Path::new(black_box(text))).expect("a valid path");
                        }
                    }),
                ),
                (
                    "Path::from_bytes",
                    Box::new(|| {
                        for _ in 0..COUNT {
                            black_box(Path::from_bytes(black_box(text.as_bytes())))
                                .expect("a valid path");
                        }
                    }),
                ),
            ],
        );
    }
}

fn requests(name: &str, request: &Request<'_>) {
    let mut payload = BytesMut::new();
    request.encode(PAYLOAD_MAX, &mut payload).expect("it fits");
    let msg_type = request.msg_type();
    let message = message(msg_type, &payload);
    let stream = message.repeat(COUNT);

    let mut out = BytesMut::with_capacity(stream.len());
    let mut client = ClientConnection::new(Limits::default());
    compare(
        &format!("request: {name}, {} bytes", message.len()),
        COUNT,
        stream.len(),
        vec![
            memcpy(&message, &stream),
            (
                "Request::encode",
                Box::new(|| {
                    out.clear();
                    for _ in 0..COUNT {
                        black_box(request).encode(PAYLOAD_MAX, &mut out).expect("it fits");
                    }
                    black_box(&out);
                }),
            ),
            (
                "Decoder",
                Box::new(|| {
                    frames(&stream, |payload| {
                        black_box(payload);
                    })
                }),
            ),
            (
                "Decoder and Request::decode",
                Box::new(|| {
                    frames(&stream, |payload| {
                        black_box(Request::decode(msg_type, payload)).expect("a request");
                    })
                }),
            ),
            (
                "ClientConnection::submit",
                Box::new(|| {
                    client = ClientConnection::new(Limits::default());
                    for _ in 0..COUNT {
                        client.submit(TxId::NONE, black_box(request), ()).expect("there is room");
                    }
                    black_box(client.take_output());
                }),
            ),
        ],
    );
}

fn replies(name: &str, msg_type: MessageType, reply: &Reply<'_>) {
    let mut payload = BytesMut::new();
    reply.encode(PAYLOAD_MAX, &mut payload).expect("it fits");
    let message = message(msg_type, &payload);
    let stream = message.repeat(COUNT);

    let mut out = BytesMut::with_capacity(stream.len());
    compare(
        &format!("reply: {name}, {} bytes", message.len()),
        COUNT,
        stream.len(),
        vec![
            memcpy(&message, &stream),
            (
                "Reply::encode",
                Box::new(|| {
                    out.clear();
                    for _ in 0..COUNT {
                        black_box(reply).encode(PAYLOAD_MAX, &mut out).expect("it fits");
                    }
                    black_box(&out);
                }),
            ),
            (
                "Decoder and Reply::decode",
                Box::new(|| {
                    frames(&stream, |payload| {
                        black_box(Reply::decode(msg_type, payload)).expect("a reply");
                    })
                }),
            ),
        ],
    );
}

fn message(msg_type: MessageType, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    let header = Header { msg_type: msg_type as u32, req_id: ReqId(1), tx_id: TxId::NONE, len };
    [&header.encode()[..], payload].concat()
}

/// Copies the stream message by message.
fn memcpy<'a>(message: &'a [u8], stream: &'a [u8]) -> Contender<'a> {
    let mut out = vec![0; stream.len()];
    (
        "memcpy, message by message",
        Box::new(move || {
            let from = stream.chunks_exact(message.len());
            for (from, to) in from.zip(out.chunks_exact_mut(message.len())) {
                black_box(to).copy_from_slice(black_box(from));
            }
            black_box(&out);
        }),
    )
}

/// Decodes all frames of the stream and passes their payloads to `handle`.
fn frames(stream: &[u8], mut handle: impl FnMut(&[u8])) {
    let mut decoder = Decoder::for_client();
    let mut input = black_box(stream);
    while !input.is_empty() {
        let decoded = decoder.decode(input).expect("a valid stream");
        handle(decoded.frame.expect("a complete message").payload);
        input = &input[decoded.consumed..];
    }
}
