"""Proof by fault: real server processes, a fault, and a checker that looks at every promise afterwards."""
