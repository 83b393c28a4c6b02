"""Maintenance: what piled up is rolled up, without losing anything, beside writers and git."""
