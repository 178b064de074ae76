//! Floats as the server writes them since version 12: shortest digits that give the
//! same value back.

/// Appends a `float4`.
pub(super) fn decode4(value: f32, out: &mut String) {
    push(&format!("{value:e}"), value.is_nan(), value.is_infinite(), value < 0.0, 6, out);
}

/// Appends a `float8`.
pub(super) fn decode8(value: f64, out: &mut String) {
    push(&format!("{value:e}"), value.is_nan(), value.is_infinite(), value < 0.0, 15, out);
}

/// `shortest` is `-d.ddde-x`; written plainly when −4 ≤ exponent < `plain_below`.
fn push(
    shortest: &str,
    nan: bool,
    infinite: bool,
    negative: bool,
    plain_below: i32,
    out: &mut String,
) {
    if nan || infinite {
        out.push_str(if nan {
            "NaN"
        } else if negative {
            "-Infinity"
        } else {
            "Infinity"
        });
        return;
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    out.push_str(sign);
    if !(-4..plain_below).contains(&exponent) {
        out.push_str(mantissa);
        out.push('e');
        out.push(if exponent < 0 { '-' } else { '+' });
        let digits = exponent.unsigned_abs().to_string();
        if digits.len() < 2 {
            out.push('0');
        }
        out.push_str(&digits);
        return;
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    match usize::try_from(exponent) {
        Ok(exponent) => {
            let (whole, fraction) = digits.split_at_checked(exponent + 1).unwrap_or((&digits, ""));
            out.push_str(whole);
            out.extend(std::iter::repeat_n('0', (exponent + 1).saturating_sub(digits.len())));
            if !fraction.is_empty() {
                out.push('.');
                out.push_str(fraction);
            }
        }
        Err(_) => {
            out.push_str("0.");
            let zeros = exponent.unsigned_abs().saturating_sub(1);
            out.extend(std::iter::repeat_n('0', usize::try_from(zeros).unwrap_or(0)));
            out.push_str(&digits);
        }
    }
}
