"""Benchmarks of omnibind itself."""
