//! Real peers against ours, and ours against real peers.
