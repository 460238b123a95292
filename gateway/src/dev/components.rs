//! WIT and WAT text becomes a component.
