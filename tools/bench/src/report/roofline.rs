//! What the machine can do at most, as a table.

use piggyback_tools::table::markdown;

use crate::measure::Roofline;

impl Roofline {
    /// 1e9 floating-point operations a second on all threads.
    pub(crate) fn gflops(&self) -> f64 {
        self.gflops[1]
    }

    /// 1e9 bytes a second that are read or written: by reading alone, or by copying, where each
    /// byte moves twice.
    pub(crate) fn moved_gbs(&self) -> f64 {
        let copied = self.copy_gbs.map(|gbs| 2.0 * gbs);
        self.read_gbs.into_iter().chain(copied).fold(0.0, f64::max)
    }

    pub(crate) fn text(&self) -> String {
        let row = |what: &str, values: [f64; 2], unit: &str| {
            let [one, all] = values.map(|value| format!("{value:.0} {unit}"));
            [what.to_owned(), one, all]
        };
        let all = format!("{} threads", self.threads);
        markdown(
            ["peak of this machine", "1 thread", &all],
            &[
                row("fused multiply-adds on registers", self.gflops, "GFLOP/s"),
                row("reading memory", self.read_gbs, "GB/s"),
                row(
                    "copying memory, read and written",
                    self.copy_gbs.map(|gbs| 2.0 * gbs),
                    "GB/s",
                ),
            ],
        )
    }
}
