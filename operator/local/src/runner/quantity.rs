//! Kubernetes' quantities (`500m`, `1.5`, `64Mi`, `1e3`) in thousandths, rounded up as the API server does.

/// What a number with this suffix is multiplied by: numerator and denominator.
fn factor(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| (1024_u128.pow(power), 1);
    let decimal = |power: u32| (1000_u128.pow(power), 1);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

/// A quantity in thousandths; none if it is none, or is negative.
pub(crate) fn thousandths(text: &str) -> Option<u64> {
    let text = text.trim().trim_start_matches('+');
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (numerator, denominator) = factor(suffix)?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let thousandths = digits.checked_mul(1000)?.checked_mul(numerator)?.div_ceil(scale.checked_mul(denominator)?);
    Some(u64::try_from(thousandths).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_a_quantity_is_read() {
        for (text, expected) in [
            ("0", 0),
            ("2", 2000),
            ("500m", 500),
            ("1.5", 1500),
            (".5", 500),
            ("1e3", 1_000_000),
            ("5E-1", 500),
            ("1k", 1_000_000),
            ("64Mi", 67_108_864_000),
            ("1.5Gi", 1_610_612_736_000),
            ("100n", 1),
        ] {
            assert_eq!(thousandths(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        assert_eq!(["", "m", "-1", "1x", "1.2.3", "one"].map(thousandths), [None; 6]);
    }
}
