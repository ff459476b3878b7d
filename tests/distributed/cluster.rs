//! Tests of a cluster: calls of many spaces, masters that fail and hand over, slots that move, and replies that are
//! lost, all under load.

mod calls;
mod failover;
mod load;
mod lost_replies;
mod slots;
