//! Paths relative to the current node.

/// Returns the absolute form of `path`. Its parts `.` and `..` mean the same node and the parent.
/// Special paths such as @releaseDomain are absolute.
pub(super) fn resolve(current: &str, path: &str) -> String {
    if path.starts_with('@') {
        return path.to_owned();
    }
    let start = if path.starts_with('/') { "" } else { current };
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let trimmed = trimmed.strip_prefix('/').unwrap_or(trimmed);
    for part in trimmed.split('/') {
        match part {
            "." => {}
            "" if trimmed.is_empty() => {}
            ".." => drop(parts.pop()),
            // An empty part is kept: the daemon's error is better than a silent change.
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_from_the_current_node() {
        for (current, path, wanted) in [
            ("/a/b", "c", "/a/b/c"),
            ("/a/b", "..", "/a"),
            ("/a/b", "../../..", "/"),
            ("/a/b", "./c/../d/", "/a/b/d"),
            ("/a/b", "/x", "/x"),
            ("/a/b", "/", "/"),
            ("/", "c", "/c"),
            ("/a", ".", "/a"),
            ("/a", "", "/a"),
            ("/a", "b//c", "/a/b//c"),
            ("/a", "@releaseDomain", "@releaseDomain"),
        ] {
            assert_eq!(resolve(current, path), wanted, "{current} {path}");
        }
    }
}
