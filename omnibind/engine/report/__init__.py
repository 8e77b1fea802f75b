"""What an engine tells of itself: counts, metrics for Prometheus, a file for `omnibind top`."""
