"""A backend for an imaginary accelerator that executes row instructions on an on-chip memory of given size."""
