//! Sizes, times and spans as people write them, and times as the format keeps them.

use jiff::Timestamp;

/// Bytes as people write them: `0 B`, `999 B`, `1.5 KiB`, `20 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if whole >= 10 || tenth == 0 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{tenth} {}", UNITS[unit])
    }
}

/// A span as kubectl writes it: `0s`, `59s`, `2m5s`, `3h20m`, `4d2h`.
pub fn span(seconds: u64) -> String {
    let (d, h, m, s) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let two = |a: u64, a_unit: &str, b: u64, b_unit: &str| {
        if b == 0 { format!("{a}{a_unit}") } else { format!("{a}{a_unit}{b}{b_unit}") }
    };
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => two(m, "m", s, "s"),
        (0, _, _) => two(h, "h", m, "m"),
        _ => two(d, "d", h, "h"),
    }
}

/// Nanoseconds since 1970 as RFC 3339 in UTC with nine digits of a second.
pub fn time(nanoseconds: i64) -> String {
    let at = Timestamp::from_nanosecond(i128::from(nanoseconds))
        .expect("every i64 of nanoseconds is a time that jiff knows");
    format!("{at:.9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_three_digits_or_one_decimal() {
        let shown: Vec<String> =
            [0, 1023, 1024, 1536, 10_239, 20 << 20, (1 << 30) - 1, 1 << 30, u64::MAX].into_iter().map(size).collect();
        assert_eq!(shown, ["0 B", "1023 B", "1 KiB", "1.5 KiB", "9.9 KiB", "20 MiB", "1023 MiB", "1 GiB", "15 EiB"]);
    }

    #[test]
    fn spans_read_like_kubectls() {
        let shown: Vec<String> = [0, 59, 60, 125, 12_000, 356_400].into_iter().map(span).collect();
        assert_eq!(shown, ["0s", "59s", "1m", "2m5s", "3h20m", "4d3h"]);
    }

    #[test]
    fn a_time_comes_back_to_the_nanosecond() {
        for ns in [0, 1, 1_700_000_000_000_000_001, 1_700_000_000_120_000_000, i64::MAX, i64::MIN] {
            assert_eq!(time(ns).parse().ok().map(Timestamp::as_nanosecond), Some(i128::from(ns)), "{}", time(ns));
        }
        assert_eq!(time(1_700_000_000_120_000_000), "2023-11-14T22:13:20.120000000Z");
    }
}
