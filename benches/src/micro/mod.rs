//! Instruction counts of the functions every request goes through, held against stored ones.
//!
//! | file | what it is |
//! |---|---|
//! | [`heads`], [`bodies`], [`policies`], [`picks`], [`lines`] | the scenarios, by what they count |
//! | [`callgrind`] | plays them under valgrind and reads what it counted |
//! | [`stored`] | the counts that are defended, and the judgement |

pub mod bodies;
pub mod callgrind;
pub mod heads;
pub mod lines;
pub mod picks;
pub mod policies;
pub mod stored;

/// Calls that are counted; the figure is their mean, so that what takes turns (members, clients) is in it.
pub const CALLS: usize = 200;
/// Calls of a scenario in all: as many before the counted ones, in which buffers grow and SIMD is chosen.
pub const CALLS_ALL: usize = 2 * CALLS;

/// One call of what is counted, on an input made before.
pub type Call = Box<dyn FnMut()>;

/// One function with one input.
pub struct Scenario {
    /// What is called, and with what.
    pub name: String,
    prepare: Box<dyn FnOnce() -> anyhow::Result<Call>>,
}

impl Scenario {
    /// `prepare` makes the input, makes sure that it is what the name says, and returns the call. None of that
    /// is counted; the call is made [`CALLS_ALL`] times.
    pub fn new(name: impl Into<String>, prepare: impl FnOnce() -> anyhow::Result<Call> + 'static) -> Self {
        Self { name: name.into(), prepare: Box::new(prepare) }
    }
}

/// Every scenario, in the order of a request's walk.
pub fn scenarios() -> Vec<Scenario> {
    let all = [heads::scenarios(), bodies::scenarios(), policies::scenarios(), picks::scenarios(), lines::scenarios()];
    all.into_iter().flatten().collect()
}

/// Calls nothing: what the loop itself costs, which is taken from every other count.
pub fn nothing() -> Scenario {
    Scenario::new("nothing", || Ok(Box::new(|| {})))
}

/// Makes all calls of one scenario. When this returns callgrind notes what it counted since the last time:
/// [`callgrind`] gives it the name.
#[inline(never)]
pub(super) fn weir_micro_scenario(scenario: Scenario) -> anyhow::Result<()> {
    let mut call = (scenario.prepare)()?;
    for _ in 0..CALLS {
        call();
    }
    weir_micro_counted(&mut *call);
    Ok(())
}

/// Callgrind counts inside of this function and nowhere else: [`callgrind`] gives it the name.
#[inline(never)]
fn weir_micro_counted(call: &mut dyn FnMut()) {
    for _ in 0..CALLS {
        call();
    }
}
