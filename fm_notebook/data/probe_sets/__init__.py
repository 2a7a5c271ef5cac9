"""The files that probes of public sets are read from, each in the forms in which they are passed on, and what items they make."""
