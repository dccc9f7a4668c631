"""Lowering of one LBDF group: what it reads, its operators as TIR blocks, its buffers, its rows."""
