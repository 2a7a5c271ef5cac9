"""Faster ways to compute the same training step; each can be switched on and off alone."""
