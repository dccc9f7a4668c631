"""Why a group does not fit: which of its edges a prediction, or the truth, rests on."""
