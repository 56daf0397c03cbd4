"""From a refutation to the name of the mistake: the reference recomputed under other choices."""
