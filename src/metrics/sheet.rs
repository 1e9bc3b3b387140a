//! One answer to a scrape, as it is written: each metric is named once, with its help, and its labels are those of its line in
//! the list.

use super::list::{Kind, Metric};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;

/// What an answer is written to.
pub(super) struct Sheet<'a>(pub(super) DescriptorEncoder<'a>);

impl Sheet<'_> {
    /// Writes a counter, one row for each set of labels.
    pub(super) fn counter<'l, const N: usize>(
        &mut self,
        metric: &Metric<N>,
        rows: impl IntoIterator<Item = ([&'l str; N], u64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.write(metric, rows)
    }

    /// The same for one that does not count in whole numbers.
    pub(super) fn counter_f64<'l, const N: usize>(
        &mut self,
        metric: &Metric<N>,
        rows: impl IntoIterator<Item = ([&'l str; N], f64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.write(metric, rows)
    }

    /// Writes a gauge, one row for each set of labels.
    pub(super) fn gauge<'l, const N: usize>(
        &mut self,
        metric: &Metric<N>,
        rows: impl IntoIterator<Item = ([&'l str; N], f64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.write(metric, rows)
    }

    /// Writes a histogram, one for each set of labels.
    pub(super) fn histogram<'l, const N: usize>(
        &mut self,
        metric: &Metric<N>,
        rows: impl IntoIterator<Item = ([&'l str; N], Histogram)>,
    ) -> fmt::Result {
        self.write(metric, rows)
    }

    fn write<'l, const N: usize, M: EncodeMetric>(
        &mut self,
        metric: &Metric<N>,
        rows: impl IntoIterator<Item = ([&'l str; N], M)>,
    ) -> fmt::Result {
        let (name, kind) = match metric.kind {
            // The encoder adds it to each row, and the name of all of them is without it.
            Kind::Counter => (metric.name.strip_suffix("_total").unwrap_or(metric.name), MetricType::Counter),
            Kind::Gauge => (metric.name, MetricType::Gauge),
            Kind::Histogram => (metric.name, MetricType::Histogram),
        };
        let mut encoder = self.0.encode_descriptor(name, metric.help, None, kind)?;
        let mut rows = rows.into_iter();
        if N == 0 {
            // Without labels there is one row, and no braces.
            return rows.next().map_or(Ok(()), |(_, value)| value.encode(encoder));
        }
        for (values, value) in rows {
            let labels: Vec<(&str, &str)> = metric.labels.into_iter().zip(values).collect();
            value.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Returns a count as a gauge has it; beyond 2^53 it is rounded.
#[expect(clippy::cast_precision_loss, reason = "nothing here is counted that far")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// Returns a count as a gauge has it.
pub(super) fn size(count: usize) -> f64 {
    number(u64::try_from(count).unwrap_or(u64::MAX))
}

/// Returns 1 for what is so, and 0 for what is not.
pub(super) fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}
