//! Tests of a cluster: calls of many spaces, the rights that the service needs at each master, and under load masters
//! that fail and hand over, slots that move, and replies that are lost.

mod calls;
mod failover;
mod load;
mod lost_replies;
mod rights;
mod slots;
