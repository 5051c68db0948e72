"""Benchmarks of the diagnostics beside other programs; every figure the documentation states comes from here."""
