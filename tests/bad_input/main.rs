//! Bad input on every route.
