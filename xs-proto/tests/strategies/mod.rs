//! Strategies for all values that messages contain.
//!
//! Paths, tokens and values are leaked so that requests are `'static`.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use xs_proto::{
    ABS_PATH_MAX, Access, DomId, ErrorCode, Features, MessageType, Path, Permission, Permissions,
    REL_PATH_MAX, Reply, Request, Strings, TxId,
};

/// Generates the same cases in every run, unless `PROPTEST_RNG_SEED` is set.
pub(crate) fn config() -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x5ee7);
    }
    config
}

/// All kinds of valid paths, up to the maximum length.
pub(crate) fn path() -> impl Strategy<Value = Path<'static>> {
    let name = "[a-zA-Z0-9_@-]{1,12}";
    let names = prop_oneof![
        9 => vec(name, 1..6).prop_map(|names| names.join("/")),
        1 => (REL_PATH_MAX - 12..REL_PATH_MAX).prop_map(|len| "x".repeat(len)),
        1 => (ABS_PATH_MAX - 12..ABS_PATH_MAX).prop_map(|len| "y/".repeat(len / 2) + "y"),
    ];
    let text = prop_oneof![
        1 => Just("/".to_owned()),
        1 => name.prop_map(|name| format!("@{name}")),
        9 => (any::<bool>(), names).prop_map(|(absolute, names)| {
            if absolute || names.len() > REL_PATH_MAX { format!("/{names}") } else { names }
        }),
    ];
    text.prop_map(|text| Path::new(text.leak()).expect("a valid path"))
}

pub(crate) fn domid() -> impl Strategy<Value = DomId> {
    any::<u16>().prop_map(DomId::new)
}

pub(crate) fn permission() -> impl Strategy<Value = Permission> {
    let access = prop_oneof![
        Just(Access::None),
        Just(Access::Read),
        Just(Access::Write),
        Just(Access::ReadWrite)
    ];
    (domid(), access).prop_map(|(domid, access)| Permission::new(domid, access))
}

pub(crate) fn permissions() -> impl Strategy<Value = Permissions> {
    vec(permission(), 1..8).prop_map(|list| Permissions::from_list(list).expect("not empty"))
}

/// Any bytes except NUL.
pub(crate) fn token() -> impl Strategy<Value = &'static [u8]> {
    vec(1..=u8::MAX, 0..40).prop_map(|bytes| &*bytes.leak())
}

/// Any bytes.
pub(crate) fn value() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..200).prop_map(|bytes| &*bytes.leak())
}

/// Any text without a NUL.
pub(crate) fn text() -> impl Strategy<Value = &'static str> {
    "[^\0]{0,20}".prop_map(|text| &*text.leak())
}

/// A list of strings without NUL. Each string has at least `min_len` bytes.
pub(crate) fn strings(min_len: usize) -> impl Strategy<Value = Strings<'static>> {
    let string = vec(1..=u8::MAX, min_len..12);
    vec(string, 0..6).prop_map(|list| Strings::from_list(list).expect("no NUL"))
}

/// A request that fits into one message.
pub(crate) fn request() -> impl Strategy<Value = Request<'static>> {
    let path_only = (path(), 0..6).prop_map(|(path, kind)| match kind {
        0 => Request::Directory(path),
        1 => Request::Read(path),
        2 => Request::GetPerms(path),
        3 => Request::Mkdir(path),
        _ => Request::Rm(path),
    });
    let domain_only = (domid(), 0..5).prop_map(|(domid, kind)| match kind {
        0 => Request::Release(domid),
        1 => Request::GetDomainPath(domid),
        2 => Request::IsDomainIntroduced(domid),
        3 => Request::GetFeature { domid: Some(domid) },
        _ => Request::Resume(domid),
    });
    prop_oneof![
        strings(0).prop_map(Request::Control),
        path_only,
        (path(), token(), of(any::<u32>())).prop_map(|(path, token, depth)| Request::Watch {
            path,
            token,
            depth
        }),
        (path(), token()).prop_map(|(path, token)| Request::Unwatch { path, token }),
        Just(Request::TransactionStart),
        any::<bool>().prop_map(|commit| Request::TransactionEnd { commit }),
        (domid(), any::<u64>(), any::<u32>()).prop_map(|(domid, gfn, evtchn)| Request::Introduce {
            domid,
            gfn,
            evtchn
        }),
        domain_only,
        (path(), value()).prop_map(|(path, value)| Request::Write { path, value }),
        (path(), permissions())
            .prop_map(|(path, perms)| Request::SetPerms { path, perms: Cow::Owned(perms) }),
        (domid(), domid()).prop_map(|(domid, target)| Request::SetTarget { domid, target }),
        Just(Request::ResetWatches),
        (path(), any::<u32>()).prop_map(|(path, offset)| Request::DirectoryPart { path, offset }),
        Just(Request::GetFeature { domid: None }),
        (domid(), any::<u32>()).prop_map(|(domid, features)| Request::SetFeature {
            domid,
            features: Features::from_bits(features)
        }),
        Just(Request::GetQuota { domid: None, quota: None }),
        (of(domid()), text())
            .prop_map(|(domid, quota)| Request::GetQuota { domid, quota: Some(quota) }),
        (of(domid()), text(), any::<u32>()).prop_map(|(domid, quota, value)| Request::SetQuota {
            domid,
            quota,
            value
        }),
    ]
}

/// A message type that a client may send.
pub(crate) fn request_type() -> impl Strategy<Value = MessageType> {
    let types = MessageType::ALL.iter().copied();
    let types: Vec<_> = types.filter(|ty| !matches!(*ty as u32, 15 | 16 | 65535)).collect();
    prop::sample::select(types)
}

/// A reply and its message type.
pub(crate) fn reply() -> impl Strategy<Value = (MessageType, Reply<'static>)> {
    request_type().prop_flat_map(|msg_type| {
        let error = error_code().prop_map(move |code| (MessageType::Error, Reply::Error(code)));
        prop_oneof![
            1 => error.boxed(),
            7 => success(msg_type).prop_map(move |reply| (msg_type, reply)).boxed(),
        ]
    })
}

pub(crate) fn error_code() -> impl Strategy<Value = ErrorCode> {
    prop_oneof![prop::sample::select(ErrorCode::KNOWN), text().prop_map(ErrorCode::from_name),]
}

/// A successful reply to a request of this type.
pub(crate) fn success(msg_type: MessageType) -> BoxedStrategy<Reply<'static>> {
    match msg_type {
        MessageType::Read => value().prop_map(|value| Reply::Value(value.into())).boxed(),
        MessageType::Directory => strings(1).prop_map(Reply::Children).boxed(),
        MessageType::DirectoryPart => (any::<u64>(), strings(1), any::<bool>())
            .prop_map(|(generation, children, last)| Reply::Part { generation, children, last })
            .boxed(),
        MessageType::GetPerms => permissions().prop_map(Reply::Permissions).boxed(),
        MessageType::TransactionStart => {
            (1..=u32::MAX).prop_map(|id| Reply::Transaction(TxId(id))).boxed()
        }
        MessageType::IsDomainIntroduced => any::<bool>().prop_map(Reply::Boolean).boxed(),
        MessageType::GetFeature => {
            any::<u32>().prop_map(|bits| Reply::Features(Features::from_bits(bits))).boxed()
        }
        MessageType::GetDomainPath | MessageType::GetQuota | MessageType::Control => {
            text().prop_map(|text| Reply::Text(text.into())).boxed()
        }
        _ => Just(Reply::Done).boxed(),
    }
}
