"""What is in a device's memory: encoders under a budget, and those that are larger than it."""
