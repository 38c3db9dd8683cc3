"""Where an attempt at a job runs."""
