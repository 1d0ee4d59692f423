//! What a look-up meets on its way: more than its outcome tells, for whoever asks why. Whoever does not pays nothing for it.

use crate::balance::MemberIndex;

/// See the module. In the order met, one for each value that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// A value that is no cookie of ours: cut, or made by somebody else.
    NoToken,
    /// A cookie whose dates were not sealed here: altered or forged.
    BrokenSeal,
    /// A token that names nobody: forged, or of a member that is gone.
    Stranger,
    /// A cookie of that member that was not used for too long.
    TooIdle(MemberIndex),
    /// A cookie of that member that was given out too long ago.
    TooOld(MemberIndex),
    /// A client or a session that the table does not know: it never came, or was forgotten.
    Unheard,
    /// One that was away for longer than it is remembered.
    Away,
    /// One whose member is not in the pool any more.
    Gone,
    /// It belongs to that member, which may not have it: down, or taken out by its operator.
    Barred(MemberIndex),
    /// It belongs to that member.
    Home(MemberIndex),
}
