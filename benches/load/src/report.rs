//! What a run found out: raw data that add up over generators, figures computed from them, and
//! ways to show them.

mod compare;
mod difference;
mod figures;
mod html;
mod merge;
mod model;
mod text;
mod threshold;

pub use compare::{Comparison, Ratio, compare};
pub use figures::{Figure, Unit};
pub use merge::merge;
pub use model::{
    Generator, PartReport, Report, Run, SCHEMA, Sample, Server, Span, SpanUsage, Thread, Tls,
};
pub use threshold::{Outcome, Threshold};

pub(crate) use html::html;

#[cfg(test)]
mod tests;
