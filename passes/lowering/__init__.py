"""Lowering of groups by their schemes: what one reads, its operators as TIR blocks, its buffers, rows and channels."""
