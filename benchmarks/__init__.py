"""Measures what the platform promises: `make bench`, or `python -m benchmarks [figure ...] [--quick]`.

`figures.py` lists every figure with its target; the module it names measures it, against real processes and a
database of the benchmarks' own.
"""
