"""From unimodal pools to what a binder learns from, and to the binder itself."""
