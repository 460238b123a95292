//! What a component would touch, read from bytes nobody has vouched for.
//!
//! The gateway reads a component here before it decides on it, the host before wasmtime sees a byte of it: wasmtime 48 itself
//! aborts the process on a 2.4 KB component of nested types. One pass, no copy of the bytes, nothing compiled; the bodies of
//! functions are not looked at. Whatever is not understood is [`Unreadable`], never left out.

mod limits;
mod pass;
mod piecewise;
mod thread;
mod unreadable;

pub use self::limits::*;
pub use self::thread::{read, read_in_turn};
pub use self::unreadable::Unreadable;

/// The outermost imports and exports of a component, both sorted by name.
///
/// Components nested inside are satisfied from within or they do not validate, so these imports are all that is asked of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What it needs.
    pub imports: Vec<Item>,
    /// What it offers.
    pub exports: Vec<Item>,
}

/// One import or export.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The name as it stands in the component: `wasi:sockets/tcp@0.2.3`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What is in an instance, sorted: `func [method]tcp-socket.start-bind`, `resource tcp-socket`, `type ip-address`; empty
    /// for every other kind.
    pub items: Vec<String>,
}

/// The kinds of component externs (Component Model, `externdesc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A WIT interface.
    Instance,
    /// A bare function.
    Func,
    /// A bare type.
    Type,
    /// A core module.
    CoreModule,
    /// A component.
    Component,
    /// A value.
    Value,
}
