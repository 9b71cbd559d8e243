//! Permissions in words.

use xs_client::{Access, Permissions};

/// Returns a sentence about permissions.
pub(crate) fn in_words(perms: &Permissions) -> String {
    let right = |access: Access| match (access.can_read(), access.can_write()) {
        (true, true) => "may read and write",
        (true, false) => "may read",
        (false, true) => "may write",
        (false, false) => "may neither read nor write",
    };
    let owner = perms.owner();
    let listed = perms.iter().skip(1);
    let listed: String =
        listed.map(|entry| format!("domain {} {}; ", entry.domid, right(entry.access))).collect();
    format!(
        "belongs to domain {}, which may read and write; {listed}other guests {}",
        owner.domid,
        right(owner.access)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_put_in_words() {
        let words = |perms: &str| in_words(&perms.parse().unwrap());
        assert_eq!(
            words("n5 r0 b7"),
            "belongs to domain 5, which may read and write; domain 0 may read; \
             domain 7 may read and write; other guests may neither read nor write"
        );
        assert_eq!(
            words("r0"),
            "belongs to domain 0, which may read and write; other guests may read"
        );
    }
}
