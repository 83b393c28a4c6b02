"""The network: remotes of the configuration, what may be said to them, and how it is carried."""
