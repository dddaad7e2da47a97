"""Request facts set in code: for a block or function, or from inside an active trace."""
