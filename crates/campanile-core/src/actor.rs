//! Who asks for a change: [`campanile_access`]'s, by the name that ports and walls know it by.

pub use campanile_access::actor::Actor;
