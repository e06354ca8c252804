"""What bench/compare measures: one module for each kind of question."""
