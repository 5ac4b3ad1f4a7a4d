//! The judgements, by tables.
