//! JSON as a tree that refuses what JSON leaves open: a name twice in one object.
//!
//! Size is bounded before parsing and depth by the parser, so the tree is bounded too. Numbers and
//! booleans have no part in a DID document and lose their value.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

pub(super) enum Node {
    Other,
    Text(String),
    List(Vec<Self>),
    Object(Object),
}

#[derive(Default)]
pub(super) struct Object(BTreeMap<String, Node>);

impl Object {
    pub(super) fn member(&self, name: &str) -> Option<&Node> {
        self.0.get(name)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("json")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((name, value)) = members.next_entry::<String, Node>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member {name:?} appears twice")));
            }
            object.insert(name, value);
        }
        Ok(Node::Object(Object(object)))
    }
}
