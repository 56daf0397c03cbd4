"""The gradcheck door: one step of a user's own code, judged on a user's own batch."""
