"""Reports for people: tables, plots, progress, explanations."""
