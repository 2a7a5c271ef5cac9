"""The job on disk: the only channel between a notebook and its workers.

Both ends of the channel live above this room and do not know each other: `session` reads journals and writes control files,
`worker` writes journals and reads control files.
"""
