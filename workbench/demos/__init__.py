"""Data, small nets, one trainer and recipes that record the sample runs."""
