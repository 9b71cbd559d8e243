//! Names that are similar to a mistyped one.

/// Returns the name that differs least from `wanted`, if it is similar.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // One mistake per three letters, but at least one and at most three.
    let most = (wanted.len() / 3).clamp(1, 3);
    let with_distance = names.map(|name| (distance(wanted, name, most), name));
    let similar =
        with_distance.filter(|(distance, name)| *distance <= most && name.len() > *distance);
    similar.min().map(|(_, name)| name)
}

/// Returns how many letters must be added, removed, replaced or swapped with the next one to turn
/// `b` into `a`. A result above `most` need not be exact.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let (a, b) = (a.to_lowercase().into_bytes(), b.to_lowercase().into_bytes());
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    // Rows of the table of distances between the starts of both words: the last three.
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_found() {
        for (wanted, names, found) in [
            ("nmae", &["name", "memory"][..], Some("name")),
            ("domian", &["domain"], Some("domain")),
            ("Data", &["data", "date"], Some("data")),
            ("shutdwn", &["shutdown", "sysrq"], Some("shutdown")),
            ("6", &["5", "12"], None),
            ("xyz", &["name", "memory"], None),
            ("contrl", &[], None),
        ] {
            assert_eq!(nearest(wanted, names.iter().copied()), found, "{wanted}");
        }
    }
}
