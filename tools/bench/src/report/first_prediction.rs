//! From the start of the program to its first prediction, in turn with PyTorch.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bench::FOLDER;
use crate::measure::median;
use piggyback_tools::table::markdown;

/// What `tools/bench/peers/first_prediction.py` prints.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct FirstPredictions {
    networks: Vec<Network>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Network {
    architecture: String,
    file_bytes: f64,
    ours: Vec<Sample>,
    pytorch: Vec<Sample>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Sample {
    seconds: f64,
    memory_bytes: f64,
    /// Of PyTorch only.
    after_imports_seconds: Option<f64>,
}

impl FirstPredictions {
    /// The checkpoints that were read, from the root.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let file = |network: &Network| format!("{FOLDER}/{}.safetensors", network.architecture);
        self.networks.iter().map(file).map(PathBuf::from).collect()
    }

    pub(super) fn text(&self) -> String {
        let rows: Vec<[String; 8]> = self.networks.iter().map(Network::row).collect();
        let titles = [
            "network",
            "file",
            "ours",
            "PyTorch",
            "ratio",
            "PyTorch after its imports",
            "our peak memory",
            "PyTorch's",
        ];
        format!(
            "From the start of the program to its first prediction, from a safetensors file in the page cache, a\n\
             picture of 640x480, in turn; medians, peak memory of the process with its share of the file:\n\n{}",
            markdown(titles, &rows)
        )
    }
}

impl Network {
    fn row(&self) -> [String; 8] {
        let of = |samples: &[Sample], value: fn(&Sample) -> f64| {
            median(&samples.iter().map(value).collect::<Vec<f64>>())
        };
        let (ours, theirs) = (
            of(&self.ours, |sample| sample.seconds),
            of(&self.pytorch, |sample| sample.seconds),
        );
        let after_imports = of(&self.pytorch, |sample| {
            sample.after_imports_seconds.unwrap_or(f64::NAN)
        });
        let memory = |samples: &[Sample]| {
            let peak = of(samples, |sample| sample.memory_bytes);
            format!("{:.0} MB, {:.2}x", peak / 1e6, peak / self.file_bytes)
        };
        [
            self.architecture.clone(),
            format!("{:.1} MB", self.file_bytes / 1e6),
            format!("{ours:.3} s"),
            format!("{theirs:.2} s"),
            format!("{:.1}", theirs / ours),
            format!("{after_imports:.3} s"),
            memory(&self.ours),
            memory(&self.pytorch),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::FirstPredictions;

    #[test]
    fn ratios_are_of_medians() {
        let told = r#"{"networks":[{"architecture":"vgg16","file_bytes":100e6,
            "ours":[{"seconds":0.5,"memory_bytes":120e6},{"seconds":9,"memory_bytes":110e6},
                    {"seconds":0.4,"memory_bytes":110e6}],
            "pytorch":[{"seconds":2,"memory_bytes":300e6,"after_imports_seconds":0.25}]}]}"#;
        let measured: FirstPredictions = serde_json::from_str(told).unwrap();
        let text = measured.text();
        let row = text.lines().last().unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            [
                "vgg16",
                "100.0 MB",
                "0.500 s",
                "2.00 s",
                "4.0",
                "0.250 s",
                "110 MB, 1.10x",
                "300 MB, 3.00x"
            ]
        );
    }
}
