//! Where a solve starts, and what one solver hands to the next.

use super::basis::Basis;
use super::solver::DualSolver;
use crate::problems::glm::Glm;

/// A point with what belongs to it, see [`DualSolver::state`].
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct DualState {
    point: Vec<f64>,
    lifted: Vec<f64>,
    adjoint: Vec<f64>,
}

impl DualState {
    /// The point `(A, b)`.
    pub fn point(&self) -> &[f64] {
        &self.point
    }
}

/// What one solver hands to the next for the same rows, without the rows.
#[doc(hidden)]
#[derive(Clone)]
pub struct DualMemory {
    state: DualState,
    basis: Option<Basis>,
}

impl DualMemory {
    /// Where the next solve starts.
    pub fn state(&self) -> &DualState {
        &self.state
    }
}

impl DualSolver {
    /// A solver that goes on where another one for the same rows ended.
    pub fn resumed(glm: &Glm<'_>, memory: DualMemory) -> Option<Self> {
        let mut solver = Self::new(glm)?;
        solver.restore(&memory.state);
        solver.basis = memory.basis;
        Some(solver)
    }

    /// What the next solver goes on with.
    pub fn into_memory(self) -> DualMemory {
        let DualSolver { point, lifted, adjoint, basis, .. } = self;
        DualMemory { state: DualState { point, lifted, adjoint }, basis }
    }

    pub(super) fn set_intercepts(&mut self, b: &[f64]) {
        let size = self.space.margins();
        self.point[size..][..b.len()].copy_from_slice(b);
        self.lifted[size..][..b.len()].copy_from_slice(b);
    }

    /// Takes the margins of the parameters `w` of a similar model as start.
    pub fn start_at(&mut self, w: &[f64]) {
        let size = self.space.margins();
        let (weights, intercepts) = w.split_at(w.len() - if self.space.intercept { self.space.outputs } else { 0 });
        self.set_intercepts(intercepts);
        self.point[..size].fill(0.0);
        self.placed = false;
        self.space.margins_of_weights(weights, &mut self.lifted[..size]);
    }

    /// What the next solve starts from.
    pub fn state(&self) -> DualState {
        DualState { point: self.point.clone(), lifted: self.lifted.clone(), adjoint: self.adjoint.clone() }
    }

    /// Returns to an earlier state.
    pub fn restore(&mut self, state: &DualState) {
        self.point.copy_from_slice(&state.point);
        self.lifted.copy_from_slice(&state.lifted);
        self.adjoint.copy_from_slice(&state.adjoint);
        self.placed = false;
    }

    /// Starts the next solve, at `lambda`, from the `point` of a solver for some of the rows; `positions` says where
    /// each row is among them.
    ///
    /// Those rows keep their `a_i`, as the margins that go with them will change little; new rows begin with `a_i = 0`.
    /// (What a new row alone would need is too much for all of them: they pull in the same directions.)
    pub fn start_from_rows(&mut self, glm: &Glm<'_>, lambda: &[f64], point: &[f64], positions: &[Option<usize>]) {
        let (size, dim, outputs) = (self.space.margins(), self.space.dim(), self.space.outputs);
        self.space.set_lambda(glm, lambda);
        self.set_intercepts(&point[point.len() - outputs..]);
        for (a, position) in self.point[..size].chunks_exact_mut(outputs).zip(positions) {
            match position {
                Some(i) => a.copy_from_slice(&point[i * outputs..][..outputs]),
                None => a.fill(0.0),
            }
        }
        let mut lifted = vec![0.0; dim];
        self.space.lift(&self.point, &mut lifted);
        self.lifted = lifted;
        self.placed = true;
    }
}
