//! Training steps, in turn with PyTorch.

use serde::{Deserialize, Serialize};

use super::median;
use crate::table::markdown;

/// What `xtask/peers/training_step.py` prints.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct TrainingSteps {
    networks: Vec<Network>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Network {
    architecture: String,
    /// Of the images, pixels.
    side: usize,
    batch: usize,
    ours: Samples,
    pytorch: Samples,
    pytorch_channels_last: Samples,
}

#[derive(Debug, Deserialize, Serialize)]
struct Samples {
    /// Of every step.
    seconds: Vec<f64>,
    /// The peak of every process.
    memory_bytes: Vec<f64>,
}

impl TrainingSteps {
    pub(super) fn text(&self) -> String {
        let rows: Vec<[String; 8]> = self.networks.iter().map(Network::row).collect();
        let titles = [
            "network",
            "images",
            "ours",
            "PyTorch",
            "PyTorch, channels last",
            "ratio to its best",
            "our peak memory",
            "PyTorch's, at its best",
        ];
        format!(
            "A training step with every layer masked, in turn; medians. Ours includes loading its images:\n\n{}",
            markdown(titles, &rows)
        )
    }
}

impl Network {
    fn row(&self) -> [String; 8] {
        let [ours, plain, channels_last] = [&self.ours, &self.pytorch, &self.pytorch_channels_last];
        let seconds = |samples: &Samples| median(&samples.seconds);
        let best = match seconds(plain) < seconds(channels_last) {
            true => plain,
            false => channels_last,
        };
        let shown = |samples: &Samples| format!("{:.0} ms", 1e3 * seconds(samples));
        let memory = |samples: &Samples| format!("{:.0} MB", median(&samples.memory_bytes) / 1e6);
        [
            self.architecture.clone(),
            format!("{} of {}x{}", self.batch, self.side, self.side),
            shown(ours),
            shown(plain),
            shown(channels_last),
            format!("{:.2}", seconds(best) / seconds(ours)),
            memory(ours),
            memory(best),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::TrainingSteps;

    #[test]
    fn the_ratio_is_to_pytorchs_best() {
        let told = r#"{"networks":[{"architecture":"vgg16","side":224,"batch":8,
            "ours":{"seconds":[1.0,0.5,0.4],"memory_bytes":[2e9]},
            "pytorch":{"seconds":[2.0],"memory_bytes":[3e9]},
            "pytorch_channels_last":{"seconds":[0.75],"memory_bytes":[4e9]}}]}"#;
        let measured: TrainingSteps = serde_json::from_str(told).unwrap();
        let text = measured.text();
        let row = text.lines().last().unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            [
                "vgg16",
                "8 of 224x224",
                "500 ms",
                "2000 ms",
                "750 ms",
                "1.50",
                "2000 MB",
                "4000 MB"
            ]
        );
    }
}
