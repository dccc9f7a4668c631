"""Kernels: fast code for one row of the operators that take most of the time."""
