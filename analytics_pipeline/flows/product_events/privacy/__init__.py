"""Privacy: the part that is stored of members that may hold something personal."""
