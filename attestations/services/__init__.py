"""The middle floor's verbs: what writes."""
