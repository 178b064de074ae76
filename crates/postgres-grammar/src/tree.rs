//! PostgreSQL's raw parse tree as a plain tree of named nodes.
//!
//! The parser's Rust types are some 270 structs; a visitor written over them would miss a field
//! one day, and a table in it. Their serde derive is complete by construction, so the tree is made
//! through it: every node and every field is there, whatever the grammar grows. Empty fields are
//! left out.

use std::fmt::Display;

use serde::ser::{self, Impossible, Serialize};

/// A value in the tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// Nothing, or a default value.
    Empty,
    Bool,
    Int(i64),
    Str(String),
    List(Vec<Tree>),
    Node(Box<Node>),
}

/// A parse node: its Rust name in `pg_query::protobuf` (`SelectStmt`, `AConst`, …) and its fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) fields: Vec<(&'static str, Tree)>,
}

impl Tree {
    pub(crate) fn node(&self) -> Option<&Node> {
        if let Self::Node(node) = self { Some(node) } else { None }
    }

    pub(crate) fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }
}

impl Node {
    pub(crate) fn get(&self, field: &str) -> Option<&Tree> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, tree)| tree)
    }

    /// The child node in a field.
    pub(crate) fn child(&self, field: &str) -> Option<&Self> {
        self.get(field)?.node()
    }

    /// The child nodes of a list field.
    pub(crate) fn list(&self, field: &str) -> impl DoubleEndedIterator<Item = &Self> {
        self.get(field).map_or(&[][..], Tree::items).iter().filter_map(Tree::node)
    }

    /// A string field; empty when not there.
    pub(crate) fn text(&self, field: &str) -> &str {
        if let Some(Tree::Str(text)) = self.get(field) { text } else { "" }
    }

    /// A string field, none when empty.
    pub(crate) fn some_text(&self, field: &str) -> Option<String> {
        Some(self.text(field)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    pub(crate) fn int(&self, field: &str) -> i64 {
        if let Some(Tree::Int(value)) = self.get(field) { *value } else { 0 }
    }

    pub(crate) fn flag(&self, field: &str) -> bool {
        matches!(self.get(field), Some(Tree::Bool))
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// The strings of a list of `String` nodes: a dotted name's parts.
    pub(crate) fn names(&self, field: &str) -> Vec<&str> {
        self.list(field).filter(|node| node.is("String")).map(|node| node.text("sval")).collect()
    }

    /// Calls `visit` on every direct child node with the field it is in.
    pub(crate) fn children<'a>(&'a self, visit: &mut dyn FnMut(&'static str, &'a Self)) {
        fn each<'a>(
            field: &'static str,
            tree: &'a Tree,
            visit: &mut dyn FnMut(&'static str, &'a Node),
        ) {
            match tree {
                Tree::Node(node) => visit(field, node),
                Tree::List(items) => items.iter().for_each(|item| each(field, item, visit)),
                _ => {}
            }
        }
        for (field, tree) in &self.fields {
            each(field, tree, visit);
        }
    }
}

/// Why no tree was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeError {
    TooDeep,
    /// A kind of value the parser's types don't have today.
    Unexpected,
}

impl Display for TreeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::TooDeep { "too deep" } else { "unexpected value" })
    }
}

impl std::error::Error for TreeError {}

impl ser::Error for TreeError {
    fn custom<T: Display>(_: T) -> Self {
        Self::Unexpected
    }
}

/// The tree of a value of the parser's types, at most `max_depth` nodes deep.
pub(crate) fn build<T: Serialize>(value: &T, max_depth: usize) -> Result<Tree, TreeError> {
    value.serialize(Builder { left: max_depth })
}

#[derive(Clone, Copy)]
struct Builder {
    left: usize,
}

struct Items {
    below: Builder,
    items: Vec<Tree>,
}

struct Fields {
    below: Builder,
    node: Node,
}

/// Methods for kinds of value that never come.
macro_rules! refuse {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, _: $type) -> Result<Tree, TreeError> { Err(TreeError::Unexpected) })*
    };
}

/// Methods for every kind of integer.
macro_rules! integers {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, value: $type) -> Result<Tree, TreeError> {
            let value = i64::try_from(value).map_err(|_| TreeError::Unexpected)?;
            Ok(if value == 0 { Tree::Empty } else { Tree::Int(value) })
        })*
    };
}

impl ser::Serializer for Builder {
    type Ok = Tree;
    type Error = TreeError;
    type SerializeSeq = Items;
    type SerializeTuple = Impossible<Tree, TreeError>;
    type SerializeTupleStruct = Impossible<Tree, TreeError>;
    type SerializeTupleVariant = Impossible<Tree, TreeError>;
    type SerializeMap = Impossible<Tree, TreeError>;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Impossible<Tree, TreeError>;

    integers! {
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
    }
    refuse! {
        serialize_f32(f32); serialize_f64(f64); serialize_char(char); serialize_bytes(&[u8]);
    }

    fn serialize_bool(self, value: bool) -> Result<Tree, TreeError> {
        Ok(if value { Tree::Bool } else { Tree::Empty })
    }

    fn serialize_str(self, value: &str) -> Result<Tree, TreeError> {
        Ok(if value.is_empty() { Tree::Empty } else { Tree::Str(value.to_owned()) })
    }

    fn serialize_none(self) -> Result<Tree, TreeError> {
        Ok(Tree::Empty)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Tree, TreeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Tree, TreeError> {
        Ok(Tree::Empty)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Tree, TreeError> {
        Ok(Tree::Empty)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Tree, TreeError> {
        Ok(Tree::Str(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, TreeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, TreeError> {
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Items, TreeError> {
        Ok(Items { below: self, items: Vec::with_capacity(len.unwrap_or(0)) })
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, TreeError> {
        Err(TreeError::Unexpected)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, TreeError> {
        Err(TreeError::Unexpected)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, TreeError> {
        Err(TreeError::Unexpected)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, TreeError> {
        Err(TreeError::Unexpected)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields, TreeError> {
        // `Node` only wraps the choice of nodes; it is no level of its own.
        let step = usize::from(name != "Node");
        let left = self.left.checked_sub(step).ok_or(TreeError::TooDeep)?;
        Ok(Fields { below: Self { left }, node: Node { name, fields: Vec::new() } })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, TreeError> {
        Err(TreeError::Unexpected)
    }
}

impl ser::SerializeSeq for Items {
    type Ok = Tree;
    type Error = TreeError;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), TreeError> {
        self.items.push(value.serialize(self.below)?);
        Ok(())
    }

    fn end(self) -> Result<Tree, TreeError> {
        Ok(if self.items.is_empty() { Tree::Empty } else { Tree::List(self.items) })
    }
}

impl ser::SerializeStruct for Fields {
    type Ok = Tree;
    type Error = TreeError;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), TreeError> {
        let tree = value.serialize(self.below)?;
        if tree != Tree::Empty {
            self.node.fields.push((name, tree));
        }
        Ok(())
    }

    fn end(mut self) -> Result<Tree, TreeError> {
        if self.node.name == "Node" {
            return Ok(self.node.fields.pop().map_or(Tree::Empty, |(_, tree)| tree));
        }
        Ok(Tree::Node(Box::new(self.node)))
    }
}
