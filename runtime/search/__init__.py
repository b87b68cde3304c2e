"""Search by sound: spans of files as vectors on disk, and the files and times nearest to a sound."""
