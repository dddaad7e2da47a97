"""The versions one after another, and where a change happened."""
