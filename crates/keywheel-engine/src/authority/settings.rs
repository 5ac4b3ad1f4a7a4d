//! What `ca.json` and the files that it names say, read and checked at once.
