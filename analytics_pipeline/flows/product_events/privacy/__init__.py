"""What is stored of members that may hold something personal."""
