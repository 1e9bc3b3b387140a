"""The version that the answers name; the same as in pyproject.toml."""

VERSION = "1.0.0"
