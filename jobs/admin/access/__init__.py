"""Who sees and may do what at the monitor."""
