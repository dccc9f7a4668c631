"""TVM passes."""
