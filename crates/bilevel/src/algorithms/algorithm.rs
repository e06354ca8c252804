//! The published algorithms by name.
//!
//! Numbers of steps and exponents are those of the papers where these state them; where they leave a choice (how many
//! lower steps, how many terms of a series) it is the one of the experiments of the paper, and named in the
//! documentation of the variant. Deviations are named too.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::adjoint::Adjoint;
use super::memory::{Blocks, Memory};
use super::recipe::{Count, Recipe, Start};
use crate::error::Error;

/// A bilevel algorithm of the literature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HOAG (Pedregosa, ICML 2016): all rows, tolerances `0.1 * 0.9^t`, adaptive outer step.
    ///
    /// The step rule is that of the authors' program: longer while the objective falls, shorter when it does not.
    Hoag,
    /// BSA (Ghadimi, Wang, 2018): lower steps that grow like `t^{1/2}`, one random term of a Neumann series with a
    /// constant step; other steps fall like `t^{-1/2}`. Starts are warm, where the paper begins each lower loop anew.
    Bsa,
    /// TTSA (Hong, Wai, Wang, Yang, SIAM J. Optim. 2023): one lower step, one random term of a Neumann series; steps fall like
    /// `t^{-2/5}` (lower) and `t^{-3/5}` (outer).
    Ttsa,
    /// StocBiO (Ji, Yang, Liang, ICML 2021): 10 lower steps from a warm start, Neumann series of 10 terms.
    #[serde(rename = "stocbio")]
    StocBio,
    /// AmIGO (Arbel, Mairal, ICLR 2022): 10 lower steps and 10 sampled steps of the linear system, both from a warm start; one
    /// sample of the upper objective in each iteration.
    Amigo,
    /// BSGM (Grazzi, Pontil, Salzo, JMLR 2023): lower level and linear system from a cold start, their number of steps growing
    /// like `t^{1/2}`, minibatches in all parts, projected outer step.
    Bsgm,
    /// SUSTAIN (Khanduri et al., NeurIPS 2021): STORM directions of `w` and `lambda`, one random term of a Neumann series;
    /// steps fall like `t^{-1/3}`, the weights of STORM like their square.
    Sustain,
    /// MRBO (Yang, Ji, Liang, NeurIPS 2021): STORM directions of `w` and `lambda`, Neumann series of fixed length, steps like
    /// SUSTAIN.
    Mrbo,
    /// VRBO (Yang, Ji, Liang, NeurIPS 2021): SPIDER directions, renewed on all rows after every pass; `lambda` moves alone, and
    /// three lower steps follow.
    Vrbo,
    /// FSLA (Li, Gu, Huang, AAAI 2022): a single loop; plain `w` and `v`, STORM direction of `lambda`; steps fall like
    /// `t^{-1/2}`.
    Fsla,
    /// SOBA (Dagreou, Ablin, Vaiter, Moreau, NeurIPS 2022): a single loop on plain directions; steps fall like `t^{-2/5}`, the
    /// outer one like `t^{-3/5}`.
    Soba,
    /// MA-SOBA (Chen, Xiao, Balasubramanian, 2023): SOBA with a moving average of the outer direction; all steps fall like
    /// `t^{-1/2}`.
    MaSoba,
    /// SABA (Dagreou et al., NeurIPS 2022): a single loop on SAGA directions, constant steps.
    Saba,
    /// SRBA (Dagreou, Moreau, Vaiter, Ablin, AISTATS 2024): a single loop on SARAH directions, constant steps, all rows after
    /// every half pass.
    Srba,
    /// F2SA (Kwon, Kwon, Wright, Nowak, ICML 2023): first order; the multiplier grows like `t^{1/7}`, lower steps fall like
    /// `t^{-4/7}`, the outer one like `t^{-5/7}`.
    F2sa,
    /// BOME (Ye, Liu, Wright, Stone, Liu, NeurIPS 2022): first order with a dynamic barrier, 10 lower steps. Its limit is off
    /// by what these leave of an error of `w`, as by a series of ten terms, and by its outer step.
    Bome,
    /// PZOBO (Sow, Ji, Liang, NeurIPS 2022): the Jacobian of 10 lower steps by differences along one random direction.
    Pzobo,
    /// What to take without tuning: a single loop on SAGA directions, with steps that are measured on the way.
    ///
    /// Its steps in [`Settings`](super::Settings) are factors of the measured ones, 1 as a rule.
    Auto,
}

/// Exponents of the falling steps of `w`, `v` and `lambda`.
pub(super) type Exponents = [f64; 3];

impl Algorithm {
    /// All of them, in order of their publication, and [`Algorithm::Auto`].
    pub const ALL: [Algorithm; 18] = [
        Algorithm::Hoag,
        Algorithm::Bsa,
        Algorithm::Ttsa,
        Algorithm::StocBio,
        Algorithm::Sustain,
        Algorithm::Mrbo,
        Algorithm::Vrbo,
        Algorithm::Amigo,
        Algorithm::Fsla,
        Algorithm::Soba,
        Algorithm::Saba,
        Algorithm::Bome,
        Algorithm::Pzobo,
        Algorithm::Bsgm,
        Algorithm::F2sa,
        Algorithm::MaSoba,
        Algorithm::Srba,
        Algorithm::Auto,
    ];

    /// Its place in [`Algorithm::ALL`].
    pub fn number(self) -> usize {
        Algorithm::ALL.iter().position(|other| *other == self).expect("all are in the list of all")
    }

    /// The name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hoag => "hoag",
            Algorithm::Bsa => "bsa",
            Algorithm::Ttsa => "ttsa",
            Algorithm::StocBio => "stocbio",
            Algorithm::Amigo => "amigo",
            Algorithm::Bsgm => "bsgm",
            Algorithm::Sustain => "sustain",
            Algorithm::Mrbo => "mrbo",
            Algorithm::Vrbo => "vrbo",
            Algorithm::Fsla => "fsla",
            Algorithm::Soba => "soba",
            Algorithm::MaSoba => "ma-soba",
            Algorithm::Saba => "saba",
            Algorithm::Srba => "srba",
            Algorithm::F2sa => "f2sa",
            Algorithm::Bome => "bome",
            Algorithm::Pzobo => "pzobo",
            Algorithm::Auto => "auto",
        }
    }

    /// True where the steps of the settings are factors of steps that the algorithm finds itself.
    pub fn finds_steps(self) -> bool {
        self == Algorithm::Auto
    }

    /// What one iteration does.
    pub fn recipe(self) -> Recipe {
        let plain = Memory::None;
        let together = |adjoint, memory| Recipe::Together { adjoint, memory, outer_every: 1 };
        let in_turn = |lower, adjoint| Recipe::InTurn { lower, adjoint, start: Start::Warm };
        let storm = |power, blocks| Memory::Storm { weight: 1.0, power, blocks };
        let carried = Adjoint::Steps(Count::Fixed(1));
        match self {
            Algorithm::Hoag => Recipe::Inexact { tolerance: 0.1, decrease: 0.9 },
            Algorithm::Bsa => in_turn(Count::Growing { exponent: 0.5 }, Adjoint::RandomNeumann { terms: 10 }),
            Algorithm::Ttsa => in_turn(Count::Fixed(1), Adjoint::RandomNeumann { terms: 10 }),
            Algorithm::StocBio => in_turn(Count::Fixed(10), Adjoint::Neumann { terms: 10 }),
            Algorithm::Amigo => in_turn(Count::Fixed(10), Adjoint::Steps(Count::Fixed(10))),
            Algorithm::Bsgm => Recipe::InTurn {
                lower: Count::Growing { exponent: 0.5 },
                adjoint: Adjoint::Steps(Count::Growing { exponent: 0.5 }),
                start: Start::Cold,
            },
            Algorithm::Sustain => together(Adjoint::RandomNeumann { terms: 10 }, storm(2.0, Blocks::All)),
            Algorithm::Mrbo => together(Adjoint::Neumann { terms: 10 }, storm(2.0, Blocks::All)),
            Algorithm::Vrbo => Recipe::Together {
                adjoint: Adjoint::Neumann { terms: 10 },
                memory: Memory::Sarah { period: 1.0 },
                outer_every: 4,
            },
            Algorithm::Fsla => together(carried, storm(1.0, Blocks::Outer)),
            Algorithm::Soba => together(carried, plain),
            Algorithm::MaSoba => together(carried, Memory::MovingAverage { weight: 1.0 }),
            Algorithm::Saba => together(carried, Memory::Saga),
            Algorithm::Srba => together(carried, Memory::Sarah { period: 0.5 }),
            Algorithm::F2sa => Recipe::Penalized { lower_steps: 10, initial: 1.0, growth: 1.0 / 7.0 },
            Algorithm::Bome => Recipe::DynamicBarrier { lower_steps: 10, barrier: 0.5 },
            Algorithm::Pzobo => Recipe::ZerothOrder { lower_steps: 10, directions: 1, smoothing: 1e-2 },
            Algorithm::Auto => Recipe::Adaptive { memory: Memory::Saga },
        }
    }

    /// Exponents with which the steps of `w`, `v` and `lambda` fall on samples; on all rows all steps are constant.
    pub fn exponents(self) -> Exponents {
        match self {
            Algorithm::Soba => [0.4, 0.4, 0.6],
            Algorithm::MaSoba | Algorithm::Fsla => [0.5, 0.5, 0.5],
            // The step of a series stays: a falling one would make the series shorter and shorter.
            Algorithm::Ttsa => [0.4, 0.0, 0.6],
            Algorithm::Bsa => [0.5, 0.0, 0.5],
            Algorithm::Sustain | Algorithm::Mrbo => [1.0 / 3.0, 0.0, 1.0 / 3.0],
            Algorithm::F2sa => [4.0 / 7.0, 4.0 / 7.0, 5.0 / 7.0],
            _ => [0.0, 0.0, 0.0],
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let wanted = name.to_ascii_lowercase();
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == wanted).ok_or_else(|| {
            let names: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
            Error::input(format!("no algorithm is called {name}")).remedy(format!("choose from {}", names.join(", ")))
        })
    }
}
