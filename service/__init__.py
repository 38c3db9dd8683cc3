"""HTTP and SQL around `ml`: jobs in, models out, predictions served."""
