"""Execution schemes of a group, one class each behind one interface, registered by name."""
