"""Lists of the monitor: what they are filtered by, how far they look, how they are paged, kept and taken away."""
