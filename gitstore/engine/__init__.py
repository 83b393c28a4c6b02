"""How sessions and the repository meet. Blocking."""
