"""Label the steps of solutions by continuing them (Math-Shepherd), and sum up what came of it."""
