"""A reward behind HTTP: protocols as pure functions, a batching queue, groups held together, and the application."""
