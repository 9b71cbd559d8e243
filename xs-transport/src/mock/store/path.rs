//! Paths of nodes as strings.

/// Returns the parent's path. The root is its own parent, and special paths are below the root.
pub(crate) fn parent_of(path: &str) -> &str {
    match path.get(1..).and_then(|rest| rest.rfind('/')) {
        Some(at) => &path[..at + 1],
        None => "/",
    }
}

/// Returns the last component.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Returns the path of a child.
pub(crate) fn join(parent: &str, name: &str) -> String {
    let parent = if parent == "/" { "" } else { parent };
    format!("{parent}/{name}")
}

/// Returns the length of the prefix `/local/domain/<domid>/`, which does not count against the
/// quota for path lengths.
pub(crate) fn home_len(path: &str) -> usize {
    let Some(rest) = path.strip_prefix("/local/domain/") else {
        return 0;
    };
    match rest.find('/') {
        Some(at @ 1..=5) if rest[..at].bytes().all(|byte| byte.is_ascii_digit()) => {
            path.len() - rest.len() + at + 1
        }
        _ => 0,
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
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/a", "b"), "/a/b");
    }

    #[test]
    fn home_prefix_is_measured() {
        for (path, len) in [
            ("/local/domain/5/name", 16),
            ("/local/domain/12345/name", 20),
            ("/local/domain/123456/name", 0),
            ("/local/domain/5", 0),
            ("/local/domain/x/name", 0),
            ("/tool", 0),
        ] {
            assert_eq!(home_len(path), len, "{path}");
        }
    }
}
