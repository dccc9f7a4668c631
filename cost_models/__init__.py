"""Cost models: what a fusion group needs on chip and what it moves to and from DRAM."""
