"""Lowered groups printed as C and CUDA."""
