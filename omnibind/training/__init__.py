"""From unpaired pools to a bound checkpoint."""
