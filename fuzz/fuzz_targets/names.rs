//! Parses paths, permissions, domain ids and error names from any text. Valid ones must print as they
//! were parsed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xs_proto::{
    ABS_PATH_MAX, DomId, ErrorCode, Path, Permission, Permissions, REL_PATH_MAX, Strings,
};

fuzz_target!(|input: &[u8]| {
    path(input);
    if let Ok(strings) = Strings::new(input) {
        assert_eq!(Strings::from_list(strings.iter()).as_ref(), Ok(&strings));
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    assert_eq!(ErrorCode::from_name(text).name(), text);
    if let Ok(perms) = text.parse::<Permissions>() {
        assert_eq!(perms.to_string().parse(), Ok(perms.clone()));
        assert_eq!(perms.to_map().len(), {
            let mut domids: Vec<DomId> = perms.iter().map(|entry| entry.domid).collect();
            domids.sort();
            domids.dedup();
            domids.len()
        });
    }
    if let Ok(permission) = text.parse::<Permission>() {
        assert_eq!(permission.to_string().parse(), Ok(permission));
    }
    if let Ok(domid) = text.parse::<DomId>() {
        assert_eq!(domid.to_string().parse(), Ok(domid));
    }
});

fn path(input: &[u8]) {
    let path = Path::from_bytes(input);
    match std::str::from_utf8(input) {
        Ok(text) => assert_eq!(Path::new(text), path),
        Err(_) => assert!(path.is_err()),
    }
    let absolute = input.starts_with(b"/");
    let valid = (1..=if absolute { ABS_PATH_MAX } else { REL_PATH_MAX }).contains(&input.len())
        && input.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-/_@".contains(byte))
        && (input == b"/" || !input.ends_with(b"/"))
        && !input.windows(2).any(|pair| pair == b"//");
    assert_eq!(path.is_ok(), valid);

    // Every ancestor is a valid path, and the last one is reached.
    let mut above = path.ok();
    while let Some(path) = above {
        assert_eq!(Path::new(path.as_str()), Ok(path));
        assert_eq!(path.is_absolute(), absolute);
        assert_eq!(path.components().next_back().unwrap_or_default(), path.name());
        above = path.parent();
        assert!(above.is_none_or(|above| above.as_str().len() < path.as_str().len()));
    }
}
