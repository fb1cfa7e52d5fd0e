"""Where the arithmetic world's models are made and measured; the task itself needs none of it."""
