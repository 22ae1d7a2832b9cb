"""Counts over time: written as work ends, folded into rollups by a cluster, read by the monitor."""
