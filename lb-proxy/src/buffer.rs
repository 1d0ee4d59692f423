//! Memory lent by a worker for as long as a step of the walk needs it. Idle sessions hold none.
//!
//! One pool for each worker, written only by that worker: no lock, and in steady state no allocation.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use crate::http::h1::fields::Field;

/// Size of a lent buffer in bytes: a whole head, or one helping of a body. Room for an answer of 16 KiB with its head,
/// which is then read and written in one call each; what is not touched takes no memory. With the allocator's own
/// word before it, it fills whole pages.
pub const BUFFER_LEN: usize = 32 * 1024 - 64;
/// Size of a large buffer, for bodies that have shown to be long.
pub const LARGE_LEN: usize = 64 * 1024 - 64;
/// Most buffers kept for the next borrower. Those that nobody borrowed for a while are given back before.
const KEPT_MAX: usize = 1024;
/// Large ones likewise.
const KEPT_LARGE_MAX: usize = 16;

/// Sheets kept; they grow to the size of the heads they saw.
const SHEETS_KEPT_MAX: usize = 256;

/// The pool of one worker.
#[derive(Debug, Default)]
pub struct Buffers {
    small: Shelf,
    large: Shelf,
    sheets: RefCell<Vec<Sheet>>,
}

/// Of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// [`BUFFER_LEN`].
    Small,
    /// [`LARGE_LEN`].
    Large,
}

impl Size {
    fn len(self) -> usize {
        match self {
            Self::Small => BUFFER_LEN,
            Self::Large => LARGE_LEN,
        }
    }
}

/// Buffers of one size that wait for a borrower.
#[derive(Debug, Default)]
struct Shelf {
    free: RefCell<Vec<Box<[u8]>>>,
    /// Fewest that were free since the last look: so many were not needed.
    spare: Cell<usize>,
}

impl Shelf {
    fn take(&self, len: usize) -> Box<[u8]> {
        let mut free = self.free.borrow_mut();
        let bytes = free.pop().unwrap_or_else(|| vec![0; len].into());
        self.spare.set(self.spare.get().min(free.len()));
        bytes
    }

    fn put(&self, bytes: Box<[u8]>, most: usize) {
        let mut free = self.free.borrow_mut();
        if free.len() < most {
            free.push(bytes);
        }
    }

    /// Gives back what was not needed since the last call.
    fn tidy(&self) {
        let mut free = self.free.borrow_mut();
        let needed = free.len().saturating_sub(self.spare.get());
        free.truncate(needed);
        free.shrink_to(needed);
        self.spare.set(needed);
    }
}

impl Buffers {
    /// Lends a buffer of [`BUFFER_LEN`].
    pub fn lend(self: &Rc<Self>) -> Buffer {
        self.lend_of(Size::Small)
    }

    /// Lends a buffer of [`LARGE_LEN`].
    pub fn lend_large(self: &Rc<Self>) -> Buffer {
        self.lend_of(Size::Large)
    }

    fn lend_of(self: &Rc<Self>, size: Size) -> Buffer {
        Buffer { bytes: self.take(size), size, start: 0, end: 0, home: Rc::clone(self) }
    }

    fn take(&self, size: Size) -> Box<[u8]> {
        match size {
            Size::Small => self.small.take(size.len()),
            Size::Large => self.large.take(size.len()),
        }
    }

    /// A buffer without room, in place of one that is given away.
    pub fn none(self: &Rc<Self>) -> Buffer {
        Buffer { bytes: Box::default(), size: Size::Small, start: 0, end: 0, home: Rc::clone(self) }
    }

    /// Lends a sheet, empty.
    pub fn lend_sheet(self: &Rc<Self>) -> LentSheet {
        let sheet = self.sheets.borrow_mut().pop().unwrap_or_default();
        LentSheet { sheet, home: Rc::clone(self) }
    }

    /// Gives back what nobody borrowed since the last call. Called now and then while there is traffic.
    pub fn tidy(&self) {
        self.small.tidy();
        self.large.tidy();
    }

    /// Gives everything that is not lent back to the allocator.
    pub fn trim(&self) {
        self.small.free.take();
        self.large.free.take();
        self.sheets.take();
    }

    fn take_back(&self, bytes: Box<[u8]>, size: Size) {
        match size {
            // It rests.
            _ if bytes.len() < size.len() => {}
            Size::Small => self.small.put(bytes, KEPT_MAX),
            Size::Large => self.large.put(bytes, KEPT_LARGE_MAX),
        }
    }
}

/// Bytes read and not yet dealt with, in a lent piece of memory.
#[derive(Debug)]
pub struct Buffer {
    /// While it rests: what it holds and no more.
    bytes: Box<[u8]>,
    size: Size,
    start: usize,
    end: usize,
    home: Rc<Buffers>,
}

impl Buffer {
    /// Gives the memory back while there is nothing to deal with; [`Self::wake`] lends some again.
    pub fn rest(&mut self) {
        if self.is_empty() && !self.bytes.is_empty() {
            self.home.take_back(std::mem::take(&mut self.bytes), self.size);
        }
    }

    /// Gives the memory back but for a piece that holds what there is to deal with: for waits that last. Costs an allocation unless
    /// that is nothing.
    pub fn shrink(&mut self) {
        if !self.rests() {
            let kept: Box<[u8]> = self.filled().into();
            self.home.take_back(std::mem::replace(&mut self.bytes, kept), self.size);
            (self.start, self.end) = (0, self.bytes.len());
        }
    }

    /// True while it has no memory but for what it holds: then there is no room in it.
    pub fn rests(&self) -> bool {
        self.bytes.len() < self.size.len()
    }

    /// Has as much memory again as before [`Self::rest`] or [`Self::shrink`].
    pub fn wake(&mut self) {
        if self.rests() {
            let mut bytes = self.home.take(self.size);
            bytes[..self.len()].copy_from_slice(self.filled());
            (self.start, self.end) = (0, self.len());
            self.bytes = bytes;
        }
    }

    /// What was read and is not dealt with.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// How much that is.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// True if there is nothing to deal with.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Most it can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The room behind what is filled, without moving anything.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// `n` bytes of [`Self::room`] were filled.
    pub fn fill(&mut self, n: usize) {
        debug_assert!(self.end + n <= self.bytes.len());
        self.end += n;
    }

    /// The first `n` bytes are dealt with.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start += n;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Moves what is filled to the front, so that all the room is behind it.
    pub fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// The whole memory and where the filled part stands, for decoding in place.
    pub fn parts(&mut self) -> (&mut [u8], Range<usize>) {
        (&mut self.bytes, self.start..self.end)
    }

    /// A stretch that [`Self::parts`] named.
    pub fn at(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.take_back(std::mem::take(&mut self.bytes), self.size);
    }
}

/// Room to take a head apart and to write the next one.
#[derive(Debug, Default)]
pub struct Sheet {
    /// Fields of the head that was read.
    pub fields: Vec<Field>,
    /// The head, or the framing of a body, on its way out.
    pub out: Vec<u8>,
    /// The request line as the log shows it.
    pub line: Vec<u8>,
}

/// A lent [`Sheet`].
#[derive(Debug)]
pub struct LentSheet {
    sheet: Sheet,
    home: Rc<Buffers>,
}

impl std::ops::Deref for LentSheet {
    type Target = Sheet;
    fn deref(&self) -> &Sheet {
        &self.sheet
    }
}

impl std::ops::DerefMut for LentSheet {
    fn deref_mut(&mut self) -> &mut Sheet {
        &mut self.sheet
    }
}

impl Drop for LentSheet {
    fn drop(&mut self) {
        let mut sheet = std::mem::take(&mut self.sheet);
        sheet.fields.clear();
        sheet.out.clear();
        sheet.line.clear();
        let mut sheets = self.home.sheets.borrow_mut();
        if sheets.len() < SHEETS_KEPT_MAX && sheet.out.capacity() <= 2 * BUFFER_LEN {
            sheets.push(sheet);
        }
    }
}
