"""Recomputing a quantity from the subject's own lower answers."""

RECOMPUTE: dict = {}
