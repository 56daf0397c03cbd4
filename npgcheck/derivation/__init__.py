"""Derivations that are checked step by step, and the engines that check them."""
