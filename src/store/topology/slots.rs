//! The slots of a cluster: which slot a space has, and which node owns it. [`super::Topology`] keeps the
//! present map and replaces it.

use std::sync::Arc;

use redis::Value;

use super::Node;
use crate::store::HostPort;

/// The number of hash slots of every cluster.
pub const SLOTS: u16 = 16_384;

/// No node owns the slot.
const NO_OWNER: u16 = u16::MAX;

/// The slot of all keys of a space: the hash of their tag.
pub fn slot_of(tag: &str) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(tag.as_bytes()) % SLOTS
}

/// The slot of a key, which is that of its tag in braces where it has one.
pub fn slot_of_key(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    slot_of(tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key))
}

/// A tag with a slot of which `is_owned` is true. Where there is none, any tag.
pub fn owned_tag(is_owned: impl Fn(u16) -> bool) -> String {
    let mut tags = (0..4 * u32::from(SLOTS)).map(|number| format!("none-{number}"));
    tags.find(|tag| is_owned(slot_of(tag))).unwrap_or_else(|| "none".to_owned())
}

/// The nodes that take calls, and for a cluster the owner of each slot. A map is never changed, but replaced.
#[derive(Clone)]
pub struct SlotMap {
    /// Never empty. A single server is one node.
    pub nodes: Vec<Arc<Node>>,
    /// The place in `nodes` of the owner of each slot; `None` for a single server, which has no slots.
    owners: Option<Box<[u16]>>,
}

impl SlotMap {
    /// The map of a single server, or of a cluster of which only one node is known yet.
    pub fn of_one(node: Arc<Node>) -> SlotMap {
        SlotMap { nodes: vec![node], owners: None }
    }

    /// The map of a cluster.
    pub fn of_cluster(owned: Vec<(SlotRange, Arc<Node>)>) -> SlotMap {
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        let mut owners = vec![NO_OWNER; usize::from(SLOTS)].into_boxed_slice();
        for (range, node) in owned {
            let place = place_of(&mut nodes, &node);
            owners[range.indexes()].fill(place);
        }
        SlotMap { nodes, owners: Some(owners) }
    }

    /// True once the slots of a cluster are known.
    pub fn is_cluster(&self) -> bool {
        self.owners.is_some()
    }

    /// The node to send a call of a space to. A slot without an owner goes to any node, which says why it
    /// does not serve it.
    pub fn node_for(&self, space: &str) -> &Arc<Node> {
        match &self.owners {
            None => &self.nodes[0],
            Some(_) => self.node_for_slot(slot_of(space)),
        }
    }

    /// The node to send a call of a slot to.
    pub fn node_for_slot(&self, slot: u16) -> &Arc<Node> {
        let owner = self.owners.as_ref().and_then(|owners| owners.get(usize::from(slot)));
        owner.and_then(|owner| self.nodes.get(usize::from(*owner))).unwrap_or(&self.nodes[0])
    }

    /// The same map with another owner of a slot. The first such change makes the map of a cluster of one
    /// that was taken for a single server.
    pub fn with_owner(&self, slot: u16, node: &Arc<Node>) -> SlotMap {
        let mut map = self.clone();
        let place = place_of(&mut map.nodes, node);
        let owners = map.owners.get_or_insert_with(|| vec![0; usize::from(SLOTS)].into());
        if let Some(owner) = owners.get_mut(usize::from(slot)) {
            *owner = place;
        }
        map
    }

    /// The same map with a node that owns no slot, as the target of a migration may not own one yet.
    pub fn with_node(&self, node: &Arc<Node>) -> SlotMap {
        let mut map = self.clone();
        place_of(&mut map.nodes, node);
        map
    }

    /// A tag whose slot a node owns, for keys that nobody writes.
    pub fn tag_at(&self, node: &Node) -> String {
        owned_tag(|slot| self.node_for_slot(slot).id == node.id)
    }

    /// The number of slots without an owner.
    pub fn unowned(&self) -> usize {
        let owners = self.owners.as_deref().unwrap_or_default();
        owners.iter().filter(|owner| **owner == NO_OWNER).count()
    }

    /// The number of slots that a node owns; `None` for a single server.
    pub fn owned_by(&self, node: &Node) -> Option<usize> {
        let place = self.nodes.iter().position(|other| other.id == node.id)?;
        let owners = self.owners.as_ref()?.iter();
        Some(owners.filter(|owner| usize::from(**owner) == place).count())
    }
}

/// The place of a node in a list, to which it is added where it is not in it.
fn place_of(nodes: &mut Vec<Arc<Node>>, node: &Arc<Node>) -> u16 {
    let known = nodes.iter().position(|other| other.id == node.id);
    let place = known.unwrap_or_else(|| {
        nodes.push(Arc::clone(node));
        nodes.len() - 1
    });
    // A cluster has no more nodes than slots.
    u16::try_from(place).unwrap_or(NO_OWNER)
}

/// Slots that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRange {
    first: u16,
    last: u16,
}

impl SlotRange {
    fn indexes(self) -> std::ops::RangeInclusive<usize> {
        usize::from(self.first)..=usize::from(self.last)
    }

    /// True if the slot is in the range.
    pub fn contains(self, slot: u16) -> bool {
        (self.first..=self.last).contains(&slot)
    }
}

/// Reads the reply to CLUSTER SLOTS: ranges of slots with the addresses of their masters. The host of an address
/// is empty where the answering node means itself, or does not know a better name. Ranges whose master has no
/// known address are left out.
pub fn read_slots(reply: &Value) -> Option<Vec<(SlotRange, HostPort)>> {
    let Value::Array(entries) = reply else { return None };
    let mut ranges = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::Array(entry) = entry else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = entry.as_slice()
        else {
            return None;
        };
        let slot = |number: i64| u16::try_from(number).ok().filter(|slot| *slot < SLOTS);
        let range = SlotRange { first: slot(*first)?, last: slot(*last)? };
        let [host, Value::Int(port), ..] = master.as_slice() else { return None };
        let host = match host {
            Value::Nil => String::new(),
            Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
            Value::SimpleString(host) => host.clone(),
            _ => return None,
        };
        if host != "?" && range.first <= range.last {
            ranges.push((range, HostPort { host, port: u16::try_from(*port).ok()? }));
        }
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_that_of_the_servers() {
        // By CLUSTER KEYSLOT of a server.
        for (key, slot) in [("{main}", 12_501), ("123456789", 12_739), ("foo", 12_182), ("", 0)] {
            assert_eq!(slot_of_key(key), slot, "{key}");
        }
        assert_eq!(slot_of_key("lockstep:{main}:account:{a}"), slot_of("main"));
        assert_eq!(slot_of_key("lockstep-data:{main}:x"), slot_of("main"));
        assert_eq!(slot_of_key("a{}b"), slot_of("a{}b"));
    }

    fn entry(first: i64, last: i64, host: Value) -> Value {
        let master = Value::Array(vec![host, Value::Int(7001), Value::BulkString(b"id".to_vec())]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master])
    }

    #[test]
    fn slots_are_read_with_every_kind_of_host() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let reply = Value::Array(vec![
            entry(0, 5, text("10.0.0.1")),
            entry(6, 6, Value::Nil),
            entry(7, 8, text("")),
            entry(9, 16_383, text("?")),
        ]);
        let read = read_slots(&reply).unwrap();
        let hosts: Vec<_> = read.iter().map(|(_, host_port)| host_port.host.as_str()).collect();
        assert_eq!(hosts, ["10.0.0.1", "", ""]);
        assert!(read[0].0.contains(5) && !read[0].0.contains(6));
        for wrong in [
            Value::Nil,
            Value::Array(vec![entry(0, 16_384, text("a"))]),
            Value::Array(vec![entry(-1, 5, text("a"))]),
            Value::Array(vec![Value::Int(1)]),
        ] {
            assert!(read_slots(&wrong).is_none());
        }
    }
}
