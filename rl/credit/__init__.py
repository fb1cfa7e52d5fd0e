"""Where a reward lands and what it is compared with: pure functions on tensors, a file a subject."""
