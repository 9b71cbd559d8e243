//! Transactions belong to one open descriptor.

use xs_proto::{ErrorCode, MessageType, Reply, Request};

use crate::client::{node, writable_path};
use crate::device::{message, on_each_device};

#[test]
fn transactions_belong_to_one_descriptor() {
    on_each_device(|test_device| {
        let (client, other) = (test_device.client(), test_device.client());
        let path = writable_path("tx");
        assert_eq!(client.write(&path, b"0"), Reply::Done);
        let tx_id = client.start_transaction();
        let write = Request::Write { path: node(&path), value: b"1" };
        assert_eq!(client.request_in(tx_id, &write), Reply::Done);
        let no_entry = Reply::Error(ErrorCode::NoEntry);
        assert_eq!(other.request_in(tx_id, &write), no_entry);
        assert_eq!(other.end_transaction(tx_id, true), no_entry);
        assert_eq!(client.end_transaction(tx_id, true), Reply::Done);
        assert_eq!(client.end_transaction(tx_id, true), no_entry);
        assert_eq!(other.read(&path), Reply::Value(b"1".into()));
    });
}

#[test]
fn closing_aborts_transactions() {
    on_each_device(|test_device| {
        let (client, other) = (test_device.client(), test_device.client());
        let path = writable_path("tx-abort");
        assert_eq!(client.write(&path, b"1"), Reply::Done);
        let tx_id = client.start_transaction();
        let write = Request::Write { path: node(&path), value: b"2" };
        assert_eq!(client.request_in(tx_id, &write), Reply::Done);
        drop(client);
        assert_eq!(other.read(&path), Reply::Value(b"1".into()));
    });
}

#[test]
fn transaction_end_without_nul_is_rejected() {
    on_each_device(|test_device| {
        let device = test_device.open();
        let (_, tx_id) = device.request(MessageType::TransactionStart, b"\0");
        let tx_id = std::str::from_utf8(&tx_id).unwrap().trim_end_matches('\0').parse().unwrap();
        device.write(&message(MessageType::TransactionEnd, 1, tx_id, b"T")).unwrap();
        assert_eq!(device.read_message().1, b"EINVAL\0");
    });
}
