//! FIRST: the first member of the document that can take it, so that the last ones may rest.

use super::MemberIndex;

/// See the module.
#[derive(Clone, Debug)]
pub struct First {
    indices: Box<[MemberIndex]>,
}

impl First {
    /// `indices` in the order of the document.
    pub(super) fn build(indices: Vec<MemberIndex>) -> Self {
        Self { indices: indices.into() }
    }

    pub(super) fn pick(&self, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        self.indices.iter().copied().find(|i| usable(*i))
    }
}
