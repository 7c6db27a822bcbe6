//! What is measured beside other programs, and what we are after.

/// A piece of work that another program does too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// What `--only` calls it.
    pub(super) name: &'static str,
    pub(super) work: &'static str,
    pub(super) kind: RowKind,
    /// Further arguments of the script: see its own description.
    arguments: &'static [&'static str],
    /// The other's time, in units of ours.
    pub(super) target: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    TrainingStep,
    Inference,
    ScoreUpdate,
    TaskSwitch,
}

/// Twice as many steps of small networks: they take a tenth of the time.
pub(super) const ROWS: [Row; 9] = [
    Row {
        name: "step-resnet50",
        work: "ResNet-50 224x224 batch 8, training step",
        kind: RowKind::TrainingStep,
        arguments: &["resnet50", "224", "8", "3"],
        target: 1.5,
    },
    Row {
        name: "step-resnet18",
        work: "ResNet-18 64x64 batch 32, training step",
        kind: RowKind::TrainingStep,
        arguments: &["resnet18", "64", "32", "6"],
        target: 1.5,
    },
    Row {
        name: "step-mobilenet_v2",
        work: "MobileNetV2 96x96 batch 32, training step",
        kind: RowKind::TrainingStep,
        arguments: &["mobilenet_v2", "96", "32", "6"],
        target: 1.5,
    },
    Row {
        name: "step-vgg16",
        work: "VGG-16 224x224 batch 8, training step",
        kind: RowKind::TrainingStep,
        arguments: &["vgg16", "224", "8", "3"],
        target: 1.3,
    },
    Row {
        name: "step-densenet121",
        work: "DenseNet-121 224x224 batch 8, training step",
        kind: RowKind::TrainingStep,
        arguments: &["densenet121", "224", "8", "3"],
        target: 1.3,
    },
    Row {
        name: "inference-1",
        work: "ResNet-50 224x224 inference, batch 1",
        kind: RowKind::Inference,
        arguments: &["resnet50", "224", "1", "20"],
        target: 1.2,
    },
    Row {
        name: "inference-8",
        work: "ResNet-50 224x224 inference, batch 8",
        kind: RowKind::Inference,
        arguments: &["resnet50", "224", "8", "5"],
        target: 1.2,
    },
    Row {
        name: "score-update",
        work: "score update for 25.5 M weights (ResNet-50)",
        kind: RowKind::ScoreUpdate,
        arguments: &["resnet50", "10"],
        target: 10.0,
    },
    Row {
        name: "task-switch",
        work: "switch to another task, ResNet-50",
        kind: RowKind::TaskSwitch,
        arguments: &["resnet50", "20"],
        // 1.3 times the time of a copy.
        target: 0.77,
    },
];

impl Row {
    /// The script in `tools/bench/peers` that measures it.
    pub(super) fn script(&self) -> &'static str {
        match self.kind {
            RowKind::TrainingStep => "training_step",
            RowKind::Inference => "inference",
            RowKind::ScoreUpdate => "score_update",
            RowKind::TaskSwitch => "task_switch",
        }
    }

    pub(super) fn arguments(&self) -> &'static [&'static str] {
        self.arguments
    }
}
