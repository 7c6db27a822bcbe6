//! Adam (Kingma and Ba, 2015) like PyTorch's, fused into one pass.

use rayon::prelude::*;

use super::simd::{Isa, Kernel, Simd};

/// Rates of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamRates {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
}

/// What a step follows.
#[derive(Clone, Copy, Debug)]
pub struct Gradient<'a> {
    /// A value per parameter.
    pub values: &'a [f32],
    /// What each value is multiplied by first, rounded; 1 where it is left out.
    pub factor: Option<&'a [f32]>,
}

/// Values per task.
const TASK_LEN: usize = 1 << 15;

/// One step in place. `exp_avg` and `exp_avg_sq` are the two moments, `step` counts from 1.
///
/// # Panics
///
/// If the lengths differ or `step` is 0.
pub fn step(
    parameter: &mut [f32],
    gradient: Gradient<'_>,
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
    rates: &AdamRates,
    step: u32,
) {
    step_on(
        Isa::best(),
        [parameter, exp_avg, exp_avg_sq],
        gradient,
        rates,
        step,
    );
}

fn step_on(isa: Isa, state: [&mut [f32]; 3], gradient: Gradient<'_>, rates: &AdamRates, step: u32) {
    let len = gradient.values.len();
    assert!(
        state.iter().all(|values| values.len() == len)
            && gradient.factor.is_none_or(|factor| factor.len() == len),
        "lengths of an Adam step"
    );
    assert!(step > 0, "steps of Adam count from 1");
    let factors = Factors::new(rates, step);
    let [parameter, exp_avg, exp_avg_sq] = state.map(|values| values.par_chunks_mut(TASK_LEN));
    parameter.zip(exp_avg).zip(exp_avg_sq).enumerate().for_each(
        |(task, ((parameter, exp_avg), exp_avg_sq))| {
            let first = task * TASK_LEN;
            let part = first..first + parameter.len();
            isa.run(Step {
                gradient: &gradient.values[part.clone()],
                factor: gradient.factor.map(|factor| &factor[part]),
                parameter,
                exp_avg,
                exp_avg_sq,
                factors,
            });
        },
    );
}

/// The factors of one step, worked out in `f64` as PyTorch does.
#[derive(Clone, Copy)]
struct Factors {
    step_size: f32,
    weight1: f32,
    beta2: f32,
    weight2: f32,
    /// Square root of the second bias correction.
    root: f32,
    epsilon: f32,
}

impl Factors {
    fn new(rates: &AdamRates, step: u32) -> Self {
        let correction1 = 1.0 - rates.beta1.powf(f64::from(step));
        let correction2 = 1.0 - rates.beta2.powf(f64::from(step));
        Self {
            step_size: (rates.learning_rate / correction1) as f32,
            weight1: (1.0 - rates.beta1) as f32,
            beta2: rates.beta2 as f32,
            weight2: (1.0 - rates.beta2) as f32,
            root: correction2.sqrt() as f32,
            epsilon: rates.epsilon as f32,
        }
    }

    /// Moves one parameter and its moments by the gradient `g`.
    #[inline(always)]
    fn step(self, (parameter, exp_avg, exp_avg_sq): (&mut f32, &mut f32, &mut f32), g: f32) {
        *exp_avg += self.weight1 * (g - *exp_avg);
        *exp_avg_sq = *exp_avg_sq * self.beta2 + self.weight2 * g * g;
        let denominator = exp_avg_sq.sqrt() / self.root + self.epsilon;
        *parameter -= self.step_size * *exp_avg / denominator;
    }
}

struct Step<'a> {
    parameter: &'a mut [f32],
    exp_avg: &'a mut [f32],
    exp_avg_sq: &'a mut [f32],
    gradient: &'a [f32],
    factor: Option<&'a [f32]>,
    factors: Factors,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self {
            parameter,
            exp_avg,
            exp_avg_sq,
            gradient,
            factor,
            factors,
        } = self;
        let len = gradient.len();
        let (parameter, exp_avg, exp_avg_sq) = (
            &mut parameter[..len],
            &mut exp_avg[..len],
            &mut exp_avg_sq[..len],
        );
        match factor {
            Some(factor) => {
                let factor = &factor[..len];
                for i in 0..len {
                    let moved = (&mut parameter[i], &mut exp_avg[i], &mut exp_avg_sq[i]);
                    factors.step(moved, gradient[i] * factor[i]);
                }
            }
            None => {
                for i in 0..len {
                    let moved = (&mut parameter[i], &mut exp_avg[i], &mut exp_avg_sq[i]);
                    factors.step(moved, gradient[i]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{in_pool, noise, same_bits};
    use super::*;

    const RATES: AdamRates = AdamRates {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };

    fn gradient(len: usize, step: u32) -> Vec<f32> {
        noise(len, u64::from(step))
    }

    /// Three steps, with gradients that are multiplied by `factor`: parameter and both moments.
    fn run(isa: Isa, len: usize, factor: Option<&[f32]>) -> [Vec<f32>; 3] {
        let mut state = [noise(len, 99), vec![0.0; len], vec![0.0; len]];
        for step in 1..=3 {
            let values = &gradient(len, step);
            let gradient = Gradient { values, factor };
            let state = state.each_mut().map(|values| &mut values[..]);
            step_on(isa, state, gradient, &RATES, step);
        }
        state
    }

    /// Three steps, one number and one operation after the other.
    fn plain(len: usize, factor: Option<&[f32]>) -> [Vec<f32>; 3] {
        let mut state = [noise(len, 99), vec![0.0; len], vec![0.0; len]];
        let [parameter, exp_avg, exp_avg_sq] = &mut state;
        for step in 1..=3 {
            let factors = Factors::new(&RATES, step);
            for (i, mut g) in gradient(len, step).into_iter().enumerate() {
                if let Some(factor) = factor {
                    g *= factor[i];
                }
                exp_avg[i] += factors.weight1 * (g - exp_avg[i]);
                exp_avg_sq[i] = exp_avg_sq[i] * factors.beta2 + factors.weight2 * g * g;
                let denominator = exp_avg_sq[i].sqrt() / factors.root + factors.epsilon;
                parameter[i] -= factors.step_size * exp_avg[i] / denominator;
            }
        }
        state
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn steps_follow_their_definition(len in 0_usize..200, long in any::<bool>(), seed in any::<u64>()) {
            let len = if long { len + TASK_LEN } else { len };
            let factor = noise(len, seed);
            for factor in [None, Some(&factor[..])] {
                let expected = plain(len, factor);
                for isa in Isa::all() {
                    let found = run(isa, len, factor);
                    let equal = expected.iter().zip(&found).all(|(a, b)| same_bits(a, b));
                    prop_assert!(equal, "{isa:?}, multiplied: {}", factor.is_some());
                }
            }
        }
    }

    #[test]
    fn three_steps_follow_the_paper() {
        let [found, ..] = run(Isa::best(), 77, None);
        let start = noise(77, 99);
        for i in 0..77 {
            let (mut p, mut m, mut v) = (f64::from(start[i]), 0.0, 0.0);
            for step in 1..=3_u32 {
                let g = f64::from(gradient(77, step)[i]);
                m = RATES.beta1 * m + (1.0 - RATES.beta1) * g;
                v = RATES.beta2 * v + (1.0 - RATES.beta2) * g * g;
                let corrected_m = m / (1.0 - RATES.beta1.powi(step as i32));
                let corrected_v: f64 = v / (1.0 - RATES.beta2.powi(step as i32));
                p -= RATES.learning_rate * corrected_m / (corrected_v.sqrt() + RATES.epsilon);
            }
            assert!((f64::from(found[i]) - p).abs() < 1e-6, "{} {p}", found[i]);
        }
    }

    #[test]
    fn any_number_of_threads_gives_equal_bits() {
        let len = 2 * TASK_LEN + 5;
        let factor = noise(len, 7);
        let expected = plain(len, Some(&factor));
        for threads in [1, 2] {
            let found = in_pool(threads, || run(Isa::best(), len, Some(&factor)));
            assert!(expected.iter().zip(&found).all(|(a, b)| same_bits(a, b)));
        }
    }
}
