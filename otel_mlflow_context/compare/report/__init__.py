"""A comparison as text, HTML, JSON, CSV or a pandas frame."""
