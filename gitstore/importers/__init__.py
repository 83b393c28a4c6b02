"""Sessions from other tools, as `SessionAsset` values."""
