"""What goes out to a remote and what comes in: enumerated, checked, and landed."""
