//! What a run found out.

use std::fmt;

use serde::Serialize;

/// One number.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// The figures of one run, of which everything that was checked was right.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which scenario ran.
    pub scenario: &'static str,
    /// What came out.
    pub figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(scenario: &'static str) -> Self {
        let figures = Vec::new();
        Self { scenario, figures }
    }

    pub(crate) fn add(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit });
    }

    /// The value of a figure.
    pub fn get(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.name == name)?;
        Some(figure.value)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenario)?;
        for Figure { name, value, unit } in &self.figures {
            let digits = if *value < 100.0 { 2 } else { 0 };
            writeln!(f, "  {name:<28} {value:>12.digits$} {unit}")?;
        }
        Ok(())
    }
}
