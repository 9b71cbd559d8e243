//! The ancestors of a node.

use xs_client::Path;

/// Returns the ancestors of a node, starting with its parent, without the root.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let first = Path::new(path).ok();
    std::iter::successors(first, |path| path.parent())
        .skip(1)
        .filter(|path| *path != Path::ROOT)
        .map(Path::as_str)
}
