"""What one machine with a GPU shows in eight minutes: `python -m benchmarks.gpu`."""
