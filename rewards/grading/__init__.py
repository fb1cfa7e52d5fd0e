"""Grade final answers: find a response's answer, read what it means, and decide whether two answers are equal."""
