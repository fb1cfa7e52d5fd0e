"""Measure reward models as their papers do: pure functions of labels, scores and answers."""
