//! Sets of indexes as a Job's status writes them: `1,3-5,7`.

use std::collections::BTreeSet;

/// The indexes in a text, below `completions`; what makes no sense is left out.
pub(crate) fn parse(text: &str, completions: u32) -> BTreeSet<u32> {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let last = last.parse::<u32>().ok()?.min(completions.checked_sub(1)?);
        Some(first.parse::<u32>().ok()?..=last)
    };
    text.split(',').filter_map(part).flatten().collect()
}

/// The text: runs of three and more are written with a hyphen.
pub(crate) fn write(indexes: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let run = |(first, last): (u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_kubernetes_writes_them_and_read_back() {
        let set = BTreeSet::from([1, 3, 4, 5, 7, 8]);
        assert_eq!(write(&set), "1,3-5,7,8");
        assert_eq!(parse("1,3-5,7,8", 9), set);
        assert_eq!((write(&BTreeSet::new()), parse("", 5)), (String::new(), BTreeSet::new()));
    }

    #[test]
    fn an_index_that_the_job_does_not_have_is_left_out() {
        assert_eq!(parse("0,2-4000000000,x", 4), BTreeSet::from([0, 2, 3]));
        assert_eq!(parse("0-3", 0), BTreeSet::new());
    }
}
