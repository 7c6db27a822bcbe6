//! Compares batch normalisation with plain `f64` formulas.

use proptest::prelude::*;

use super::super::reference::{in_pool, noise, same_bits};
use super::super::simd::Isa;
use super::backward::{Gradients, backward_eval_on, backward_train_on};
use super::forward::{Statistics, apply_on, statistics_on};
use super::{Activation, Backward};

const EPS: f64 = 1e-5;

fn activations() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::Relu),
        Just(Activation::Relu6)
    ]
}

/// Mean and biased variance of each channel in `f64`.
fn plain_statistics(x: &[f64], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = (x.len() / channels) as f64;
    let column = |c: usize| x.iter().skip(c).step_by(channels);
    let mean: Vec<f64> = (0..channels)
        .map(|c| column(c).sum::<f64>() / rows)
        .collect();
    let variance = (0..channels)
        .map(|c| column(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / rows)
        .collect();
    (mean, variance)
}

/// `sum of weights * activation(batch norm(x) + residual)` in `f64`.
fn plain_loss(
    x: &[f64],
    gamma: &[f64],
    beta: &[f64],
    residual: &[f64],
    act: Activation,
    weights: &[f32],
) -> f64 {
    let channels = gamma.len();
    let (mean, variance) = plain_statistics(x, channels);
    let [low, high] = act.bounds().map(f64::from);
    let term = |i: usize| {
        let c = i % channels;
        let v = (x[i] - mean[c]) / (variance[c] + EPS).sqrt() * gamma[c] + beta[c] + residual[i];
        f64::from(weights[i]) * v.clamp(low, high)
    };
    (0..x.len()).map(term).sum()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Central difference of `loss` in element `i` of `values`.
fn slope(values: &[f64], i: usize, loss: impl Fn(&[f64]) -> f64) -> f64 {
    const STEP: f64 = 1e-6;
    let mut moved = values.to_vec();
    moved[i] += STEP;
    let above = loss(&moved);
    moved[i] -= 2.0 * STEP;
    (above - loss(&moved)) / (2.0 * STEP)
}

struct Case {
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    residual: Vec<f32>,
    grad_y: Vec<f32>,
    mean: Vec<f32>,
    inv_std: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

fn case(rows: usize, channels: usize, seed: u64) -> Case {
    let x: Vec<f32> = noise(rows * channels, seed)
        .iter()
        .map(|v| 3.0 * v + 1.0)
        .collect();
    let gamma: Vec<f32> = noise(channels, seed ^ 1).iter().map(|v| 4.0 * v).collect();
    let beta: Vec<f32> = noise(channels, seed ^ 2).iter().map(|v| v + 2.0).collect();
    let Statistics { mean, variance } = statistics_on(Isa::best(), &x, channels);
    let inv_std: Vec<f32> = variance
        .iter()
        .map(|v| (1.0 / (f64::from(*v) + EPS).sqrt()) as f32)
        .collect();
    let scale: Vec<f32> = gamma.iter().zip(&inv_std).map(|(g, s)| g * s).collect();
    let shift = (0..channels)
        .map(|c| beta[c] - mean[c] * scale[c])
        .collect();
    let residual = noise(rows * channels, seed ^ 3);
    Case {
        grad_y: noise(rows * channels, seed ^ 4),
        x,
        gamma,
        beta,
        residual,
        mean,
        inv_std,
        scale,
        shift,
    }
}

impl Case {
    fn pass<'a>(&'a self, y: Option<&'a [f32]>, activation: Activation) -> Backward<'a> {
        let Self {
            x,
            grad_y,
            scale,
            shift,
            ..
        } = self;
        Backward {
            x,
            y,
            grad_y,
            scale,
            shift,
            activation,
            wants_residual: y.is_some(),
        }
    }
}

fn same_gradients(a: &Gradients, b: &Gradients) -> bool {
    let parts = |g: &Gradients| {
        let (first, second) = g.affine.clone().unwrap_or_default();
        [
            g.x.clone(),
            first,
            second,
            g.residual.clone().unwrap_or_default(),
        ]
    };
    parts(a).iter().zip(&parts(b)).all(|(a, b)| same_bits(a, b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn statistics_are_those_of_f64(rows in 1_usize..700, channels in 1_usize..70, mean in -1e3_f32..1e3) {
        let x: Vec<f32> = noise(rows * channels, 7).iter().map(|v| v + mean).collect();
        let (means, variances) = plain_statistics(&widen(&x), channels);
        let found = statistics_on(Isa::best(), &x, channels);
        for c in 0..channels {
            prop_assert!((f64::from(found.mean[c]) - means[c]).abs() <= 1e-7 * means[c].abs().max(1.0));
            prop_assert!((f64::from(found.variance[c]) - variances[c]).abs() <= 1e-6 * variances[c].max(1e-3));
        }
        for isa in Isa::all() {
            let again = statistics_on(isa, &x, channels);
            prop_assert!(same_bits(&again.mean, &found.mean) && same_bits(&again.variance, &found.variance));
        }
    }

    #[test]
    fn normalisation_follows_its_formula(
        rows in 1_usize..300, channels in 1_usize..70, act in activations(), adds in any::<bool>(), seed in any::<u64>(),
    ) {
        let case = case(rows, channels, seed);
        let residual = adds.then_some(&case.residual[..]);
        let expected: Vec<f32> = (0..case.x.len()).map(|i| {
            let v = case.x[i].mul_add(case.scale[i % channels], case.shift[i % channels]);
            let v = residual.map_or(v, |residual| v + residual[i]);
            v.clamp(act.bounds()[0], act.bounds()[1])
        }).collect();
        for isa in Isa::all() {
            let found = apply_on(isa, &case.x, &case.scale, &case.shift, residual, act);
            prop_assert!(same_bits(&found, &expected), "{isa:?}");
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences(
        rows in 2_usize..12, channels in 1_usize..6, act in activations(), adds in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut case = case(rows, channels, seed);
        if !adds {
            case.residual.fill(0.0);
        }
        let y = apply_on(Isa::best(), &case.x, &case.scale, &case.shift, Some(&case.residual), act);
        // Differences tell nothing where an element is about to cross a bound, or a channel hardly varies.
        let [low, high] = act.bounds();
        prop_assume!(y.iter().all(|&y| y == low || y == high || (y - low > 1e-2 && high - y > 1e-2)));
        prop_assume!(case.inv_std.iter().all(|&s| s < 10.0));
        let found = backward_train_on(Isa::best(), &case.pass(adds.then_some(&y[..]), act), &case.mean, &case.inv_std);
        let (x, gamma, beta) = (widen(&case.x), widen(&case.gamma), widen(&case.beta));
        let residual = widen(&case.residual);
        let loss = |x: &[f64], gamma: &[f64], beta: &[f64], residual: &[f64]| {
            plain_loss(x, gamma, beta, residual, act, &case.grad_y)
        };
        let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 2e-4 * expected.abs().max(1.0);
        for i in 0..x.len() {
            let expected = slope(&x, i, |x| loss(x, &gamma, &beta, &residual));
            prop_assert!(near(found.x[i], expected), "x {} {expected}", found.x[i]);
            if let Some(of_residual) = &found.residual {
                prop_assert!(near(of_residual[i], slope(&residual, i, |residual| loss(&x, &gamma, &beta, residual))));
            }
        }
        let (of_gamma, of_beta) = found.affine.expect("gradients of gamma and beta");
        for c in 0..channels {
            prop_assert!(near(of_gamma[c], slope(&gamma, c, |gamma| loss(&x, gamma, &beta, &residual))));
            prop_assert!(near(of_beta[c], slope(&beta, c, |beta| loss(&x, &gamma, beta, &residual))));
        }
    }

    #[test]
    fn instruction_sets_give_equal_gradients(
        rows in 1_usize..600, channels in 1_usize..70, act in activations(), adds in any::<bool>(), seed in any::<u64>(),
    ) {
        let case = case(rows, channels, seed);
        let residual = adds.then_some(&case.residual[..]);
        let y = apply_on(Isa::best(), &case.x, &case.scale, &case.shift, residual, act);
        let pass = case.pass(adds.then_some(&y[..]), act);
        let [train, eval] = [
            backward_train_on(Isa::best(), &pass, &case.mean, &case.inv_std),
            backward_eval_on(Isa::best(), &pass, true),
        ];
        for isa in Isa::all() {
            let again = backward_train_on(isa, &pass, &case.mean, &case.inv_std);
            prop_assert!(same_gradients(&again, &train), "{isa:?}");
            prop_assert!(same_gradients(&backward_eval_on(isa, &pass, true), &eval), "{isa:?}");
        }
        // With and without y the activation lets the same elements through.
        if !adds {
            let with_y = Backward { y: Some(&y), ..pass };
            prop_assert!(same_gradients(&backward_eval_on(Isa::best(), &with_y, true), &eval));
        }
    }

    #[test]
    fn fixed_statistics_have_plain_gradients(
        rows in 1_usize..40, channels in 1_usize..20, act in activations(), seed in any::<u64>(),
    ) {
        let case = case(rows, channels, seed);
        let found = backward_eval_on(Isa::best(), &case.pass(None, act), true);
        let mut sums = vec![[0.0_f64; 2]; channels];
        for i in 0..case.x.len() {
            let c = i % channels;
            let y = case.x[i].mul_add(case.scale[c], case.shift[c]);
            let inside = act == Activation::None || (y > 0.0 && (act == Activation::Relu || y < 6.0));
            let g = if inside { case.grad_y[i] } else { 0.0 };
            prop_assert_eq!(found.x[i], g * case.scale[c]);
            sums[c][0] += f64::from(g) * f64::from(case.x[i]);
            sums[c][1] += f64::from(g);
        }
        let (of_scale, of_shift) = found.affine.expect("gradients of scale and shift");
        for c in 0..channels {
            prop_assert!((f64::from(of_scale[c]) - sums[c][0]).abs() < 1e-4);
            prop_assert!((f64::from(of_shift[c]) - sums[c][1]).abs() < 1e-4);
        }
        prop_assert_eq!(backward_eval_on(Isa::best(), &case.pass(None, act), false).affine, None);
    }
}

#[test]
fn threads_do_not_change_bits() {
    for channels in [3, 16, 24, 130] {
        let case = case(5000, channels, 9);
        let pass = case.pass(None, Activation::Relu6);
        let run = |threads| {
            in_pool(threads, || {
                let statistics = statistics_on(Isa::best(), &case.x, channels);
                (
                    statistics,
                    backward_train_on(Isa::best(), &pass, &case.mean, &case.inv_std),
                )
            })
        };
        let (statistics, gradients) = run(1);
        for threads in [2, 3] {
            let (again, gradients_again) = run(threads);
            assert_eq!(again, statistics);
            assert!(same_gradients(&gradients_again, &gradients));
        }
    }
}

#[test]
fn nan_is_not_hidden() {
    for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
        assert!(apply_on(Isa::best(), &[f32::NAN], &[1.0], &[0.0], None, activation)[0].is_nan());
    }
}
