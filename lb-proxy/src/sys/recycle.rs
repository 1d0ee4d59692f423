//! Memory of a few kilobytes that is used again instead of being given back: what one request of HTTP/2 takes for its task
//! and its futures, the next one takes again. The system's allocator keeps only pieces of up to a kilobyte at hand for each
//! thread; for larger ones it locks, searches, splits and joins.
//!
//! Tasks of the runtime are aligned to cache lines, for which that allocator searches whatever their size: those are kept from the
//! smallest on.
//!
//! Only threads that say so keep anything, each a bounded amount of its own; [`give_back`] empties it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// Sizes in bytes that are kept: above what the system's allocator keeps itself, and below what buffers have.
const SMALLEST: usize = 1024;
const LARGEST: usize = 8 * 1024;
/// Pieces are made as large as the next multiple of this, and are used again for sizes that lead to the same.
const STEP: usize = 64;
/// What the system's allocator aligns everything to.
const ALIGN: usize = 16;
/// Kinds of such pieces.
const PLAIN: usize = (LARGEST - SMALLEST) / STEP;
/// How pieces are aligned that need more than that, and what their sizes are multiples of.
const LINE: usize = 128;
/// Kinds of these.
const LINED: usize = LARGEST / LINE;
const KINDS: usize = PLAIN + LINED;
/// Bytes a thread keeps at most. Freed pieces are taken again soon: streams end one by one as others begin.
const KEPT_MAX: usize = 256 * 1024;

/// The system's allocator with a shelf before it. See the module.
#[derive(Debug)]
pub struct Recycling;

/// A piece that waits: its first word says which one waits behind it.
#[derive(Debug)]
struct Waiting {
    next: *mut Waiting,
}

/// What this thread keeps.
#[derive(Debug)]
struct Shelf {
    keeps: Cell<bool>,
    bytes: Cell<usize>,
    first: [Cell<*mut Waiting>; KINDS],
}

thread_local! {
    static SHELF: Shelf = const {
        Shelf { keeps: Cell::new(false), bytes: Cell::new(0), first: [const { Cell::new(ptr::null_mut()) }; KINDS] }
    };
}

/// Has this thread keep what it frees.
pub fn begin() {
    SHELF.with(|shelf| shelf.keeps.set(true));
}

/// Frees all that this thread keeps.
pub fn give_back() {
    SHELF.with(|shelf| {
        for (kind, first) in shelf.first.iter().enumerate() {
            let mut waiting = first.replace(ptr::null_mut());
            while !waiting.is_null() {
                // SAFETY: what waits was allocated by the system with the size of its kind, has a word of ours in it that
                // `keep` wrote, and nobody else knows of it.
                unsafe {
                    let next = (*waiting).next;
                    System.dealloc(waiting.cast(), layout_of(kind));
                    waiting = next;
                }
            }
        }
        shelf.bytes.set(0);
    });
}

/// Which kind a piece is of, if pieces like it are kept.
fn kind(layout: Layout) -> Option<usize> {
    let size = layout.size();
    match layout.align() {
        _ if size > LARGEST => None,
        align if align <= ALIGN => (size > SMALLEST).then(|| (size - SMALLEST - 1) / STEP),
        align if align <= LINE => (size > 0).then(|| PLAIN + (size - 1) / LINE),
        _ => None,
    }
}

const fn bytes_of(kind: usize) -> usize {
    if kind < PLAIN { SMALLEST + (kind + 1) * STEP } else { (kind - PLAIN + 1) * LINE }
}

const fn layout_of(kind: usize) -> Layout {
    match Layout::from_size_align(bytes_of(kind), if kind < PLAIN { ALIGN } else { LINE }) {
        Ok(layout) => layout,
        Err(_) => Layout::new::<Waiting>(),
    }
}

impl Shelf {
    fn take(&self, kind: usize) -> Option<*mut u8> {
        let first = self.first.get(kind)?;
        let waiting = first.get();
        if waiting.is_null() {
            return None;
        }
        // SAFETY: `keep` wrote the word, and the piece is nobody's until it is returned.
        first.set(unsafe { (*waiting).next });
        self.bytes.set(self.bytes.get() - bytes_of(kind));
        Some(waiting.cast())
    }

    /// False if there is no room for it.
    fn keep(&self, kind: usize, memory: *mut u8) -> bool {
        let bytes = self.bytes.get() + bytes_of(kind);
        let Some(first) = self.first.get(kind).filter(|_| self.keeps.get() && bytes <= KEPT_MAX) else { return false };
        let waiting: *mut Waiting = memory.cast();
        // SAFETY: the piece is larger and better aligned than a word, and its owner has given it up.
        unsafe { waiting.write(Waiting { next: first.get() }) };
        first.set(waiting);
        self.bytes.set(bytes);
        true
    }
}

/// The layout the system is asked for in place of `layout`: as large as its kind.
fn rounded(layout: Layout) -> Layout {
    kind(layout).map_or(layout, layout_of)
}

// SAFETY: a piece of a kind is always allocated with the whole size of its kind, whichever way it came by its size, so that it
// serves any layout of that kind; all others are passed on as they came. The shelf asks for no memory and has no destructor,
// so it may be used at any time of a thread's life.
unsafe impl GlobalAlloc for Recycling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(memory) = kind(layout).and_then(|kind| SHELF.with(|shelf| shelf.take(kind))) {
            return memory;
        }
        // SAFETY: the caller's promise; the layout only grows.
        unsafe { System.alloc(rounded(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(rounded(layout)) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if kind(layout).is_some_and(|kind| SHELF.with(|shelf| shelf.keep(kind, memory))) {
            return;
        }
        // SAFETY: the caller's promise, with the layout it was allocated with.
        unsafe { System.dealloc(memory, rounded(layout)) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size can be aligned like the old one.
        let new = rounded(unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
        // The system keeps to the alignment it is told, which has to be that of the new kind.
        let old = rounded(layout);
        // SAFETY: sizes and alignments are those of a layout, and at least what the piece was allocated with.
        let old = unsafe { Layout::from_size_align_unchecked(old.size(), old.align().max(new.align())) };
        // SAFETY: the caller's promise. Of the old alignment the system only takes what the new piece needs.
        unsafe { System.realloc(memory, old, new.size()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept() -> usize {
        SHELF.with(|shelf| shelf.bytes.get())
    }

    /// Pieces, each full of a byte of its own.
    struct Piece {
        memory: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Piece {
        fn new(size: usize, mark: u8) -> Self {
            Self::aligned(size, 8, mark)
        }

        fn aligned(size: usize, align: usize, mark: u8) -> Self {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the size is not zero, and all of it is ours.
            let memory = unsafe {
                let memory = Recycling.alloc(layout);
                memory.write_bytes(mark, size);
                memory
            };
            let piece = Self { memory, layout, mark };
            assert!(piece.is_aligned());
            piece
        }

        fn is_whole(&self, len: usize) -> bool {
            // SAFETY: it was written when it was made.
            unsafe { std::slice::from_raw_parts(self.memory, len) }.iter().all(|byte| *byte == self.mark)
        }

        fn is_aligned(&self) -> bool {
            self.memory.addr().is_multiple_of(self.layout.align())
        }

        fn resize(&mut self, size: usize) {
            let kept = self.layout.size().min(size);
            // SAFETY: it is ours, with this layout.
            self.memory = unsafe { Recycling.realloc(self.memory, self.layout, size) };
            assert!(self.is_whole(kept));
            // SAFETY: so large it is now.
            unsafe { self.memory.write_bytes(self.mark, size) };
            self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
            assert!(self.is_aligned());
        }
    }

    impl Drop for Piece {
        fn drop(&mut self) {
            assert!(self.is_whole(self.layout.size()));
            // SAFETY: it is ours, with this layout.
            unsafe { Recycling.dealloc(self.memory, self.layout) };
        }
    }

    #[test]
    fn what_was_freed_is_taken_again_by_its_kind() {
        begin();
        let first = Piece::new(4168, 1);
        let at = first.memory;
        drop(first);
        assert_eq!(kept(), 4224);
        let other = Piece::new(2000, 2);
        assert_ne!(other.memory, at);
        let again = Piece::new(4200, 3);
        assert_eq!((again.memory, kept()), (at, 0));
        drop(again);
        let lined = Piece::aligned(700, 128, 4);
        let at = lined.memory;
        drop(lined);
        assert_eq!(kept(), 4224 + 768);
        let lined = Piece::aligned(760, 128, 5);
        assert_eq!((lined.memory, kept()), (at, 4224));
        drop(lined);
        give_back();
        assert_eq!(kept(), 0);
    }

    #[test]
    fn a_thread_keeps_what_it_may_and_only_if_it_said_so() {
        let pieces = || (0..100).map(|n| Piece::new(5000, n)).collect::<Vec<_>>();
        drop(pieces());
        assert_eq!(kept(), 0);
        begin();
        drop(pieces());
        assert!(kept() <= KEPT_MAX && kept() > KEPT_MAX - 5056, "{}", kept());
        drop(Piece::new(SMALLEST, 1));
        drop(Piece::new(LARGEST + 1, 1));
        let before = kept();
        drop(Piece::new(40_000, 1));
        assert_eq!(kept(), before);
        give_back();
    }

    proptest! {
        #[test]
        fn nobody_has_what_another_has(
            steps in prop::collection::vec((0usize..8, 0u8..3, 1usize..10_000, 0u32..9), 1..200),
        ) {
            begin();
            let mut pieces: [Option<Piece>; 8] = Default::default();
            for (n, (place, what, size, align)) in steps.into_iter().enumerate() {
                match (&mut pieces[place], what) {
                    (Some(piece), 1) => piece.resize(size),
                    (piece, 2) => *piece = None,
                    (piece, _) => *piece = Some(Piece::aligned(size, 1 << align, n as u8)),
                }
            }
            drop(pieces);
            prop_assert!(kept() <= KEPT_MAX);
            give_back();
        }
    }
}
