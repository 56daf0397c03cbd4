"""Real libraries as subjects, one file each; nothing else in the package imports them."""
