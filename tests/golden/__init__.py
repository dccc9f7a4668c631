"""Modules before and after a pass, written out as TVMScript: one file a pass, Before and Expected in it."""
