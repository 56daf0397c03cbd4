"""Judging a subject: loading, guarded calls, checks, conventions, report."""
