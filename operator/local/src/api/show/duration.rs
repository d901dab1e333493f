//! Spans of time as `kubectl get` shows them: `5s`, `3m20s`, `2d4h`.

use jiff::Timestamp;
use serde_json::Value;

/// From the moment in `then` to `now`; `<unknown>` when there is no moment.
pub(crate) fn since(then: &Value, now: Timestamp) -> String {
    moment(then).map_or_else(|| "<unknown>".into(), |then| human(now.as_second() - then.as_second()))
}

/// A time as Kubernetes writes it.
pub(crate) fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// In at most two units, coarser as it gets longer.
pub(crate) fn human(seconds: i64) -> String {
    let pair = |big: i64, unit: &str, small: i64, part: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{part}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    match seconds {
        ..-1 => "<invalid>".into(),
        -1..0 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_kubectl_writes_them() {
        let shown: Vec<String> =
            [0, 119, 120, 200, 599, 600, 10_799, 10_800, 12_345, 100_000, 200_000, 700_000, 100_000_000]
                .into_iter()
                .map(human)
                .collect();
        let expected =
            ["0s", "119s", "2m", "3m20s", "9m59s", "10m", "179m", "3h", "3h25m", "27h", "2d7h", "8d", "3y62d"];
        assert_eq!(shown, expected);
    }
}
