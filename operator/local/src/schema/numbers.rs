//! JSON numbers as the API server tells them apart: whole numbers of 64 bits and floats.

use serde_json::Number;

/// As Go's `%v` prints it: whole numbers plain, floats as short as they go.
pub(super) fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => plain_float(float),
        _ => number.to_string(),
    }
}

/// A float as Go's `%v`: plain up to 21 digits, with an exponent beyond.
pub(super) fn plain_float(float: f64) -> String {
    let size = float.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{float:e}");
        return match text.split_once('e') {
            Some((digits, power)) => match power.strip_prefix('-') {
                Some(power) => format!("{digits}e-{power:0>2}"),
                None => format!("{digits}e+{power:0>2}"),
            },
            None => text,
        };
    }
    format!("{float}")
}

/// A float without a fraction that fits in JSON's safe integers.
pub(super) fn is_whole(float: f64) -> bool {
    const LARGEST_SAFE: f64 = 9_007_199_254_740_991.0;
    float.fract() == 0.0 && float.abs() <= LARGEST_SAFE
}
