"""A C++ program that runs a compiled network, and what cachegrind counts while it does."""
