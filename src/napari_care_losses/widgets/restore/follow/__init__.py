"""What is still being acquired, restored as it comes."""
