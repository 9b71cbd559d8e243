//! Paths of nodes as strings.

use std::borrow::Cow;

/// Returns the parent's path. The root is its own parent, and special paths are below the root.
pub(crate) fn parent_of(path: &str) -> &str {
    match path.get(1..).and_then(|rest| rest.rfind('/')) {
        Some(at) => &path[..at + 1],
        None => "/",
    }
}

/// Iterates over the ancestors, from the parent to the root.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| (*path != "/").then(|| parent_of(path))).skip(1)
}

/// Returns whether a path is `top` or below it.
pub(crate) fn is_within(path: &str, top: &str) -> bool {
    top == "/"
        || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the last component.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Stands for a slash that is part of a name.
const SLASH_IN_NAME: char = '\u{1}';

/// Returns the path of a node below the root with this name, which may contain slashes.
pub(crate) fn below_root(name: &str) -> String {
    format!("/{}", name.replace('/', SLASH_IN_NAME.encode_utf8(&mut [0; 4])))
}

/// Returns the path, or the name, as a client sees it.
pub(crate) fn shown(path: &str) -> Cow<'_, str> {
    if path.contains(SLASH_IN_NAME) {
        Cow::Owned(path.replace(SLASH_IN_NAME, "/"))
    } else {
        Cow::Borrowed(path)
    }
}

/// Returns the path of a child.
pub(crate) fn join(parent: &str, name: &str) -> String {
    let parent = if parent == "/" { "" } else { parent };
    format!("{parent}/{name}")
}

/// Returns the length of the prefix `/local/domain/<domid>/`, which does not count against the
/// limits of path lengths. The domain id has up to `digits_max` characters.
pub(crate) fn home_len(path: &str, digits_max: usize) -> usize {
    let Some(rest) = path.strip_prefix("/local/domain/") else {
        return 0;
    };
    let Some((domid, _)) = rest.split_once('/') else {
        return 0;
    };
    let digits = domid.strip_prefix('-').unwrap_or(domid);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && domid.len() <= digits_max {
        path.len() - rest.len() + domid.len() + 1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_and_children_are_inverse() {
        assert_eq!(parent_of("/"), "/");
        assert_eq!(parent_of("/a"), "/");
        assert_eq!(parent_of("/a/b"), "/a");
        assert_eq!(parent_of("@releaseDomain"), "/");
        assert_eq!(parent_of("@releaseDomain/5"), "@releaseDomain");
        assert_eq!(name_of("/a/b"), "b");
        assert!(ancestors("/a/b").eq(["/a", "/"]));
        assert!(is_within("/a/b", "/a") && is_within("/a", "/a") && is_within("/a", "/"));
        assert!(!is_within("/ab", "/a") && !is_within("/", "/a"));
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/a", "b"), "/a/b");
    }

    #[test]
    fn slashes_in_names_are_shown() {
        let path = below_root("@a/b");
        assert_eq!(parent_of(&path), "/");
        assert_eq!(shown(&path), "/@a/b");
        assert_eq!(shown("/a/b"), "/a/b");
    }

    #[test]
    fn home_prefix_is_measured() {
        for (path, len) in [
            ("/local/domain/5/name", 16),
            ("/local/domain/12345/name", 20),
            ("/local/domain/123456/name", 0),
            ("/local/domain/-1/name", 17),
            ("/local/domain/-/name", 0),
            ("/local/domain/5", 0),
            ("/local/domain/x/name", 0),
            ("/tool", 0),
        ] {
            assert_eq!(home_len(path, 5), len, "{path}");
        }
    }
}
