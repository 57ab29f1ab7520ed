"""The command line: one module a topic, `main` puts them together."""
