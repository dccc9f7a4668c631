"""Training-side companion: spatial gradient scaling, and branched blocks as single convolutions."""
