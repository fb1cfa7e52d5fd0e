"""Measures of reward models as their papers take them: pure functions of labels, scores and answers."""
