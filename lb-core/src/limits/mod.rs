//! Which clients may do what: [`cidr`] says which addresses belong to a list of networks.

pub mod cidr;
