"""What gitstore is measured beside: what somebody would use instead, used as its own manual says."""
