"""Trained classifiers, each with a card that says what it was made from."""
