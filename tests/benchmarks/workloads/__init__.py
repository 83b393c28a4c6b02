"""What is measured. Each module has functions that take the run and return rows."""
