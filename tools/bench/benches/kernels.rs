//! Every kernel by itself, with the shapes that networks have.
//!
//! ```sh
//! cargo bench -p piggyback-bench                             # all, some minutes
//! cargo bench -p piggyback-bench -- resnet50/forward/3x3     # those whose name holds this
//! cargo bench -p piggyback-bench -- --save-baseline before   # keep, to compare with later:
//! cargo bench -p piggyback-bench -- --baseline before
//! ```
//!
//! Without a baseline each run is compared with the one before. Throughput is in multiply-adds of
//! convolutions ("elem"), and else in bytes of the input or of the weights.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use piggyback_bench::kernels::{
    AveragePool, BatchNorm, Concatenation, Convolution, GlobalAveragePool, Linear, MaxPool,
    ScoreUpdate, Selection,
};

/// Images of a batch.
const BATCH: usize = 8;

/// Side of the input, channels of input and output, kernel, stride: ResNet-50's at 224 pixels, each
/// once.
const RESNET50: [(usize, [usize; 2], usize, usize); 20] = [
    (224, [3, 64], 7, 2),
    (56, [64, 64], 1, 1),
    (56, [64, 256], 1, 1),
    (56, [256, 64], 1, 1),
    (56, [256, 128], 1, 1),
    (28, [128, 512], 1, 1),
    (28, [512, 128], 1, 1),
    (28, [512, 256], 1, 1),
    (14, [256, 1024], 1, 1),
    (14, [1024, 256], 1, 1),
    (14, [1024, 512], 1, 1),
    (7, [512, 2048], 1, 1),
    (7, [2048, 512], 1, 1),
    (56, [256, 512], 1, 2),
    (56, [64, 64], 3, 1),
    (56, [128, 128], 3, 2),
    (28, [128, 128], 3, 1),
    (14, [256, 256], 3, 1),
    (14, [512, 512], 3, 2),
    (7, [512, 512], 3, 1),
];

/// Side of the input, channels, stride: MobileNetV2's depthwise convolutions at 96 pixels, batch
/// 32.
const MOBILENET_V2: [(usize, usize, usize); 8] = [
    (48, 32, 1),
    (48, 96, 2),
    (24, 144, 1),
    (24, 144, 2),
    (12, 192, 1),
    (6, 384, 1),
    (6, 576, 2),
    (3, 960, 1),
];

/// What a pass is called, and one of it.
type Pass<T> = (&'static str, fn(&T) -> Vec<f32>);

fn convolutions(criterion: &mut Criterion) {
    for (side, channels, kernel, stride) in RESNET50 {
        let convolution = Convolution::new(BATCH, side, channels, kernel, stride, false);
        let [inputs, outputs] = channels;
        let name = format!("{kernel}x{kernel}/{stride} {side}x{side} {inputs}->{outputs}");
        convolve(criterion, "resnet50", &name, &convolution);
    }
    for (side, channels, stride) in MOBILENET_V2 {
        let convolution = Convolution::new(32, side, [channels; 2], 3, stride, true);
        let name = format!("3x3/{stride} {side}x{side} {channels}");
        convolve(criterion, "depthwise", &name, &convolution);
    }
}

fn convolve(criterion: &mut Criterion, network: &str, name: &str, convolution: &Convolution) {
    let passes: [Pass<Convolution>; 3] = [
        ("forward", Convolution::forward),
        ("input-gradient", Convolution::input_gradient),
        ("weight-gradient", Convolution::weight_gradient),
    ];
    for (pass, run) in passes {
        let mut group = criterion.benchmark_group(format!("{network}/{pass}"));
        group.throughput(Throughput::Elements(convolution.multiply_adds()));
        group.bench_function(name, |bencher| bencher.iter(|| run(black_box(convolution))));
        group.finish();
    }
}

/// Passes over memory: one group of all that take the same bytes.
fn stream<T>(
    criterion: &mut Criterion,
    group: &str,
    size: &str,
    bytes: u64,
    of: &T,
    passes: &[Pass<T>],
) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Bytes(bytes));
    for (pass, run) in passes {
        let id = BenchmarkId::new(*pass, size);
        group.bench_function(id, |bencher| bencher.iter(|| run(black_box(of))));
    }
    group.finish();
}

fn activations(criterion: &mut Criterion) {
    for (rows, channels) in [(BATCH * 56 * 56, 256), (BATCH * 14 * 14, 1024)] {
        let norm = BatchNorm::new(rows, channels);
        let passes: [Pass<BatchNorm>; 6] = [
            ("statistics", BatchNorm::statistics),
            ("apply", BatchNorm::apply),
            ("apply-add", BatchNorm::apply_add),
            ("backward", BatchNorm::backward),
            ("backward-add", BatchNorm::backward_add),
            ("sum", BatchNorm::sum),
        ];
        let size = format!("{rows}x{channels}");
        stream(criterion, "batch-norm", &size, norm.bytes(), &norm, &passes);
    }
    // DenseNet-121: the last layer of its first block at 224 pixels.
    let concat = Concatenation::new(BATCH * 56 * 56, [224, 32]);
    let passes: [Pass<Concatenation>; 2] = [
        ("forward", Concatenation::forward),
        ("backward", Concatenation::backward),
    ];
    stream(
        criterion,
        "concat",
        "224+32",
        concat.bytes(),
        &concat,
        &passes,
    );
}

fn poolings(criterion: &mut Criterion) {
    let pool = MaxPool::new(BATCH, 112, 64);
    let passes: [Pass<MaxPool>; 2] = [
        ("forward", MaxPool::forward),
        ("backward", MaxPool::backward),
    ];
    stream(
        criterion,
        "max-pool",
        "112x112 64",
        pool.bytes(),
        &pool,
        &passes,
    );
    let pool = AveragePool::new(BATCH, 56, 128);
    let passes: [Pass<AveragePool>; 2] = [
        ("forward", AveragePool::forward),
        ("backward", AveragePool::backward),
    ];
    stream(
        criterion,
        "average-pool",
        "56x56 128",
        pool.bytes(),
        &pool,
        &passes,
    );
    let pool = GlobalAveragePool::new(BATCH, 7, 2048);
    let passes: [Pass<GlobalAveragePool>; 2] = [
        ("forward", GlobalAveragePool::forward),
        ("backward", GlobalAveragePool::backward),
    ];
    stream(
        criterion,
        "global-average-pool",
        "7x7 2048",
        pool.bytes(),
        &pool,
        &passes,
    );
}

fn linear(criterion: &mut Criterion) {
    // ResNet-50's head of ImageNet, VGG-16's fc7.
    for sizes in [[2048, 1000], [4096, 4096]] {
        let layer = Linear::new(BATCH, sizes);
        let passes: [Pass<Linear>; 3] = [
            ("forward", Linear::forward),
            ("input-gradient", Linear::input_gradient),
            ("weight-gradient", Linear::weight_gradient),
        ];
        let size = format!("{}->{}", sizes[0], sizes[1]);
        stream(criterion, "linear", &size, layer.bytes(), &layer, &passes);
    }
}

fn masks(criterion: &mut Criterion) {
    // ResNet-50's largest layer, and as many weights as it has altogether.
    for weights in [512 * 512 * 9, 23_454_912] {
        let mut selection = Selection::new(weights);
        let mut group = criterion.benchmark_group("mask");
        group.throughput(Throughput::Bytes(selection.bytes()));
        let id = |what: &str| BenchmarkId::new(what, weights);
        group.bench_function(id("by-scores"), |bencher| {
            bencher.iter(|| black_box(&selection).by_scores())
        });
        group.bench_function(id("by-bits"), |bencher| {
            bencher.iter(|| {
                black_box(selection.by_bits());
            });
        });
        group.finish();

        let mut update = ScoreUpdate::new(&[weights]);
        let mut group = criterion.benchmark_group("adam");
        group.throughput(Throughput::Bytes(4 * weights as u64));
        group.bench_function(id("score-update"), |bencher| bencher.iter(|| update.step()));
        group.finish();
    }
}

criterion_group! {
    name = kernels;
    // Each is short and there are many.
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = convolutions, linear, activations, poolings, masks
}
criterion_main!(kernels);
