"""What CI systems and hosting platforms set in environment variables."""
