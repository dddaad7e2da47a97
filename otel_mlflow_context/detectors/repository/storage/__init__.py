"""How git stores objects, and refs that are not in files of their own."""
