//! How a certificate is issued: decide, record, sign, record.
