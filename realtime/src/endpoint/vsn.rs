//! Choosing the serializer by the `vsn` parameter (protocol.md item 2).

use quikapp_protocol::Vsn;

/// The serializer for a `vsn` parameter, or none when no supported one fits.
///
/// A missing parameter is `1.0.0`. `~> 1.0.0` is V1 and `~> 2.0.0` is V2: only the patch number is
/// free. The text must be a full semantic version; pre-releases fit nothing.
pub fn negotiate(vsn: Option<&str>, supported: &[Vsn]) -> Option<Vsn> {
    let chosen = match vsn {
        None => Vsn::V1,
        Some(text) => match major_minor(text)? {
            (1, 0) => Vsn::V1,
            (2, 0) => Vsn::V2,
            _ => return None,
        },
    };
    supported.contains(&chosen).then_some(chosen)
}

/// Major and minor of `MAJOR.MINOR.PATCH[+build]`.
fn major_minor(text: &str) -> Option<(u32, u32)> {
    let release = match text.split_once('+') {
        Some((release, build)) if !build.is_empty() => release,
        Some(_) => return None,
        None => text,
    };
    let mut numbers = release.split('.').map(number);
    let (major, minor, _patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some((major, minor))
}

/// A version number: decimal digits without a leading zero.
fn number(text: &str) -> Option<u32> {
    let digits_only = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    (digits_only && !leading_zero)
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_version_table_holds() {
        let both = [Vsn::V1, Vsn::V2];
        for (text, expected) in [
            (None, Some(Vsn::V1)),
            (Some("1.0.0"), Some(Vsn::V1)),
            (Some("1.0.1"), Some(Vsn::V1)),
            (Some("1.0.9"), Some(Vsn::V1)),
            (Some("2.0.0"), Some(Vsn::V2)),
            (Some("2.0.1"), Some(Vsn::V2)),
            (Some("2.0.0+build"), Some(Vsn::V2)),
            (Some("1.1.0"), None),
            (Some("2.0.0-rc.1"), None),
            (Some("2.0.1-rc.1"), None),
            (Some("2.1.0"), None),
            (Some("3.0.0"), None),
            (Some("0.9.0"), None),
            (Some("2"), None),
            (Some("2.0"), None),
            (Some("2.0.0.0"), None),
            (Some("02.0.0"), None),
            (Some("2.0.+1"), None),
            (Some("2.0.0+"), None),
            (Some("garbage"), None),
            (Some(""), None),
        ] {
            assert_eq!(negotiate(text, &both), expected, "{text:?}");
        }
    }

    #[test]
    fn a_socket_may_support_one_serializer_only() {
        assert_eq!(negotiate(Some("2.0.0"), &[Vsn::V1]), None);
        assert_eq!(negotiate(None, &[Vsn::V1]), Some(Vsn::V1));
        assert_eq!(negotiate(None, &[Vsn::V2]), None);
    }
}
