"""Label the steps of solutions by continuing them (Math-Shepherd), and summarize the results."""
