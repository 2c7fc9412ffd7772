//! What of a log somebody may see, as ranges of places.

use crate::{Member, Seq};

/// A range of places, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first place.
    pub(super) from: u64,
    /// The last place.
    pub(super) to: u64,
}

/// Membership intervals as ascending ranges that neither overlap nor touch, up to the tail.
pub(super) fn of_members(members: &[Member], tail: Seq) -> Vec<Span> {
    let spans = members.iter().map(|member| Span {
        from: member.from_seq.0,
        to: member.to_seq.unwrap_or(tail).min(tail).0,
    });
    merged(spans.collect())
}

/// Ascending, without overlaps and without empty ranges.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.from <= span.to);
    spans.sort_unstable_by_key(|span| span.from);
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match out.last_mut() {
            Some(last) if span.from <= last.to.saturating_add(1) => last.to = last.to.max(span.to),
            _ => out.push(span),
        }
    }
    out
}

/// The first place at or above `seq` that lies in one of the ranges.
pub(super) fn first_at_or_above(spans: &[Span], seq: u64) -> Option<u64> {
    let span = spans.iter().find(|span| span.to >= seq)?;
    Some(span.from.max(seq))
}

/// The parts of the ranges that lie within `from..=to`.
pub(super) fn clip(spans: &[Span], from: u64, to: u64) -> Vec<Span> {
    let clipped = spans.iter().map(|span| Span {
        from: span.from.max(from),
        to: span.to.min(to),
    });
    clipped.filter(|span| span.from <= span.to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span { from, to }
    }

    #[test]
    fn overlapping_and_touching_ranges_become_one() {
        let spans = merged(vec![
            span(8, 9),
            span(1, 3),
            span(3, 5),
            span(6, 6),
            span(12, 11),
        ]);
        assert_eq!(spans, [span(1, 6), span(8, 9)]);
    }

    proptest::proptest! {
        /// Whatever the ranges, merging them neither shows nor hides a place.
        #[test]
        fn merging_changes_no_place(ranges in proptest::collection::vec((0u64..40, 0u64..40), 0..8)) {
            let spans: Vec<Span> = ranges.iter().map(|&(from, to)| span(from, to)).collect();
            let merged = merged(spans.clone());
            let within = |spans: &[Span], place| {
                spans.iter().any(|span| (span.from..=span.to).contains(&place))
            };
            for place in 0..42 {
                assert_eq!(within(&merged, place), within(&spans, place), "{place}");
                let next = (place..42).find(|&place| within(&spans, place));
                assert_eq!(first_at_or_above(&merged, place), next, "from {place}");
            }
        }
    }

    #[test]
    fn the_next_visible_place_skips_what_is_between() {
        let spans = [span(2, 3), span(7, 9)];
        let next = |seq| first_at_or_above(&spans, seq);
        assert_eq!(
            [next(0), next(3), next(4), next(9), next(10)],
            [Some(2), Some(3), Some(7), Some(9), None]
        );
    }

    #[test]
    fn clipping_drops_what_lies_outside() {
        assert_eq!(
            clip(&[span(1, 3), span(5, 9)], 3, 6),
            [span(3, 3), span(5, 6)]
        );
        assert_eq!(clip(&[span(1, 3)], 4, 9), []);
    }
}
