"""Assessments of traces as metrics: what users, judges and code thought of the answers."""
