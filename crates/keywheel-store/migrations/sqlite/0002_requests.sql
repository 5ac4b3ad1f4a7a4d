-- What a token was used for, so that the same request can be answered again: a digest of it, and its certificate.
ALTER TABLE used_tokens ADD COLUMN request BLOB;
ALTER TABLE used_tokens ADD COLUMN serial BLOB;
