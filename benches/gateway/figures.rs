//! Medians, percentiles, and how a measured row is written.

/// One row of the table.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) bare: String,
    pub(crate) gateway: String,
    pub(crate) result: String,
    pub(crate) budget: &'static str,
    /// None where nothing is asked for.
    pub(crate) is_met: Option<bool>,
}

impl Row {
    /// Makes a row that explains others and has no budget of its own.
    pub(crate) fn note(what: &'static str, gateway: String) -> Self {
        Self { what, bare: String::new(), gateway, result: String::new(), budget: "", is_met: None }
    }

    /// Compares what was measured beside something with what was measured without it, both in milliseconds, at this share of
    /// them; `most` is what the ratio must stay below.
    pub(crate) fn beside(
        what: &'static str,
        [without, with]: [&[f64]; 2],
        share: f64,
        budget: &'static str,
        most: Option<f64>,
    ) -> Self {
        let (without, with) = (percentile(without, share), percentile(with, share));
        let ratio = with / without;
        Self {
            what,
            bare: format!("{without:.2} ms"),
            gateway: format!("{with:.2} ms"),
            result: format!("{ratio:.2} x"),
            budget,
            is_met: most.map(|most| ratio < most),
        }
    }

    /// Returns the row as a line of Markdown.
    pub(crate) fn line(&self) -> String {
        let verdict = match self.is_met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let Self { what, bare, gateway, result, budget, .. } = self;
        format!("| {what} | {bare} | {gateway} | {result} | {budget} | {verdict} |\n")
    }
}

/// Returns the value below which this share of them lies; 0 where there are none.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count of measurements is a small number that is not negative"
    )]
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Returns the middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// Writes the median and between which values the rounds lay.
pub(crate) fn spread(values: &[f64], digits: usize) -> String {
    let (least, most) = (percentile(values, 0.0), percentile(values, 1.0));
    format!("{:.digits$} ({least:.digits$} to {most:.digits$})", median(values))
}

/// Returns a rate per second.
#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]
pub(crate) fn rate(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}
