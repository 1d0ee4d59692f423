//! Clients that were told the last word and get a moment to read it. They hold descriptors and little memory, and nobody needs them:
//! when there are many, the oldest go, who had most time to read. Written by one worker.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Waker};

/// Most of them at once, for each worker.
pub const LINGERING_MAX: usize = 256;

/// Those of one worker.
#[derive(Debug, Default)]
pub struct Lingering {
    /// The oldest first, so in the order of their numbers.
    here: RefCell<VecDeque<(u64, Option<Waker>)>>,
    next: Cell<u64>,
}

impl Lingering {
    /// One more; if there are too many, the oldest is dismissed.
    pub fn enter(&self) -> Guest<'_> {
        let number = self.next.get();
        self.next.set(number + 1);
        let mut here = self.here.borrow_mut();
        here.push_back((number, None));
        if here.len() > LINGERING_MAX
            && let Some((_, Some(waker))) = here.pop_front()
        {
            waker.wake();
        }
        Guest { of: self, number }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.here.borrow().len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Guest<'a> {
    of: &'a Lingering,
    number: u64,
}

impl Guest<'_> {
    /// True once it has to go; until then the task of `cx` is woken when it has to.
    pub fn is_dismissed(&self, cx: &Context<'_>) -> bool {
        let mut here = self.of.here.borrow_mut();
        let Ok(at) = here.binary_search_by_key(&self.number, |(number, _)| *number) else { return true };
        let waker = &mut here[at].1;
        if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let mut here = self.of.here.borrow_mut();
        if let Ok(at) = here.binary_search_by_key(&self.number, |(number, _)| *number) {
            here.remove(at);
        }
        if here.is_empty() {
            // A burst is over.
            here.shrink_to(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let lingering = Lingering::default();
        let cx = Context::from_waker(Waker::noop());
        let mut guests: Vec<Guest<'_>> = (0..LINGERING_MAX).map(|_| lingering.enter()).collect();
        assert!(guests.iter().all(|guest| !guest.is_dismissed(&cx)));
        // Those who left of their own accord make room.
        drop(guests.remove(7));
        guests.push(lingering.enter());
        assert!(guests.iter().all(|guest| !guest.is_dismissed(&cx)));
        guests.extend((0..3).map(|_| lingering.enter()));
        let gone: Vec<usize> = (0..guests.len()).filter(|at| guests[*at].is_dismissed(&cx)).collect();
        assert_eq!((gone, lingering.len()), (vec![0, 1, 2], LINGERING_MAX));
        guests.clear();
        assert!(lingering.is_empty());
    }
}
