//! Decisions found again by what they read: a tree of reads, in which a known decision costs a walk over the facts and
//! no call into the guest.
//!
//! Pure. A policy is a function of the facts it reads, one after another. So after the same values it reads the same
//! fact next, and a node of the tree is a fact, an edge one of its values, and a leaf the answer.
//!
//! Bounded in bytes: two trees take turns. New decisions go into the young one, and those that are found in the old
//! one move over. When the young one holds half of the budget, the old one is dropped and the young one becomes the
//! old. So what was not asked for during half a budget of others goes.
//!
//! Invariants: an answer is given only for exactly the reads it was given for; the bytes never exceed the budget.

use std::collections::HashMap;
use std::sync::Arc;

use crate::answer::Answer;
use crate::trace::{Fact, Given, Trace, Value};

/// What an edge, a node or a leaf costs beside the texts in it: a measured 150 to 250 bytes with its share of a table.
const OVERHEAD: usize = 200;
/// A decision whose reads are larger is not worth its place: it will hardly be asked again.
const LARGEST: usize = 8 << 10;

/// Where facts are read from while a decision is looked for.
pub trait Read {
    /// What a fact says; the reader may borrow it from the request.
    fn read(&self, fact: &Fact) -> Value<'_>;
}

impl Read for Given {
    fn read(&self, fact: &Fact) -> Value<'_> {
        self.read(fact).unwrap_or(Value::Missing)
    }
}

/// Known decisions of one policy on one worker.
pub struct Memo {
    budget: usize,
    young: Tree,
    old: Tree,
    evicted: u64,
}

#[derive(Default)]
struct Tree {
    root: Option<Next>,
    bytes: usize,
    answers: u64,
}

/// What comes after a value.
enum Next {
    /// Another read.
    Read(Box<Node>),
    /// The end: the policy has answered.
    Answer(Arc<Answer>),
}

struct Node {
    fact: Fact,
    values: Values,
}

/// The values of a fact that were seen, and what comes after each. Most facts have a few (a form, a listener, a hint), and
/// to compare these takes less time than to hash one.
enum Values {
    Few(Vec<(Value<'static>, Next)>),
    Many(HashMap<Value<'static>, Next>),
}

/// So many values are compared one by one.
const FEW: usize = 4;

/// The policy read or answered otherwise after the same reads: it is no pure function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("after the same facts it did something else")]
pub struct Impure;

impl Memo {
    /// A memo that holds at most so many bytes.
    pub fn new(budget: usize) -> Self {
        Self { budget, young: Tree::default(), old: Tree::default(), evicted: 0 }
    }

    /// The answer to these facts, if it is known.
    pub fn find(&mut self, facts: &impl Read) -> Option<Arc<Answer>> {
        if let Some(answer) = self.young.find(facts, None) {
            return Some(answer.clone());
        }
        self.old.root.as_ref()?;
        let mut trace = Trace::default();
        let answer = self.old.find(facts, Some(&mut trace))?.clone();
        // It is asked for again, so it moves over. What is wrong about a policy was found when it went in.
        self.old.answers = self.old.answers.saturating_sub(1);
        let _ = self.insert(&trace, &answer);
        Some(answer)
    }

    /// What a decision that is known read.
    pub fn trace(&self, facts: &impl Read) -> Trace {
        let mut trace = Trace::default();
        if self.young.find(facts, Some(&mut trace)).is_none() {
            trace = Trace::default();
            self.old.find(facts, Some(&mut trace));
        }
        trace
    }

    /// Remembers an answer. A trace that holds something uncacheable is the caller's to leave out.
    ///
    /// # Errors
    /// What is known already says that the policy is not pure; nothing is remembered then.
    pub fn insert(&mut self, trace: &Trace, answer: &Arc<Answer>) -> Result<(), Impure> {
        let texts: usize = trace.reads().iter().map(|(fact, value)| fact.size() + value.size()).sum();
        let cost = texts + answer.size() + OVERHEAD * (trace.reads().len() + 1);
        if cost > LARGEST.min(self.budget / 2) {
            return Ok(());
        }
        if self.young.bytes + cost > self.budget / 2 {
            self.evicted += self.old.answers;
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(trace, answer)
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }

    /// Answers that went because there was no room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

impl Tree {
    fn find<'a>(&'a self, facts: &'a impl Read, mut trace: Option<&mut Trace>) -> Option<&'a Arc<Answer>> {
        let mut next = self.root.as_ref()?;
        loop {
            match next {
                Next::Answer(answer) => return Some(answer),
                Next::Read(node) => {
                    let value = facts.read(&node.fact);
                    // The table's keys own what they hold, and are looked up by what the request holds.
                    next = match &node.values {
                        Values::Few(few) => &few.iter().find(|(seen, _)| *seen == value)?.1,
                        Values::Many(many) => {
                            let many: &HashMap<Value<'_>, Next> = many;
                            many.get(&value)?
                        }
                    };
                    if let Some(trace) = &mut trace {
                        // It went in as a trace, so it cannot be longer than one.
                        let _ = trace.push(node.fact.clone(), value.into_owned());
                    }
                }
            }
        }
    }

    fn insert(&mut self, trace: &Trace, answer: &Arc<Answer>) -> Result<(), Impure> {
        let added = match &mut self.root {
            Some(next) => next.grow(trace.reads(), answer)?,
            None => {
                let (next, bytes) = Next::chain(trace.reads(), answer);
                self.root = Some(next);
                bytes
            }
        };
        self.bytes += added;
        self.answers += u64::from(added > 0);
        Ok(())
    }
}

impl Next {
    /// Adds a decision to what is known; says how many bytes that took.
    fn grow(&mut self, reads: &[(Fact, Value<'static>)], answer: &Arc<Answer>) -> Result<usize, Impure> {
        match (self, reads) {
            (Self::Answer(known), []) if known == answer => Ok(0),
            (Self::Read(node), [(fact, value), rest @ ..]) if node.fact == *fact => {
                if let Some(known) = node.values.get_mut(value) {
                    return known.grow(rest, answer);
                }
                let (next, bytes) = Self::chain(rest, answer);
                node.values.insert(value.clone(), next);
                Ok(bytes + OVERHEAD + value.size())
            }
            _ => Err(Impure),
        }
    }

    /// A way of reads that leads to the answer alone, and its bytes.
    fn chain(reads: &[(Fact, Value<'static>)], answer: &Arc<Answer>) -> (Self, usize) {
        let end = (Self::Answer(answer.clone()), OVERHEAD + answer.size());
        reads.iter().rev().fold(end, |(next, bytes), (fact, value)| {
            let values = Values::Few(vec![(value.clone(), next)]);
            (Self::Read(Box::new(Node { fact: fact.clone(), values })), bytes + OVERHEAD + fact.size() + value.size())
        })
    }
}

impl Values {
    fn get_mut(&mut self, value: &Value<'static>) -> Option<&mut Next> {
        match self {
            Self::Few(few) => few.iter_mut().find(|(seen, _)| seen == value).map(|(_, next)| next),
            Self::Many(many) => many.get_mut(value),
        }
    }

    /// Adds a value that is not there yet.
    fn insert(&mut self, value: Value<'static>, next: Next) {
        match self {
            Self::Few(few) if few.len() < FEW => few.push((value, next)),
            Self::Few(few) => {
                let mut many: HashMap<Value<'static>, Next> = few.drain(..).collect();
                many.insert(value, next);
                *self = Self::Many(many);
            }
            Self::Many(many) => drop(many.insert(value, next)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::answer::Form;

    /// Facts of a request that is made of numbers.
    struct Numbers(BTreeMap<u8, u64>);

    fn fact(number: u8) -> Fact {
        Fact::Query(number.to_string().into())
    }

    impl Read for Numbers {
        fn read(&self, fact: &Fact) -> Value<'_> {
            let Fact::Query(name) = fact else { return Value::Missing };
            self.0.get(&name.parse().unwrap()).map_or(Value::Missing, |number| Value::Number(*number))
        }
    }

    /// A small generator, so that a failure comes back with its seed (splitmix64).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 31) % most
        }
    }

    /// A policy that branches on what it reads: which fact comes next, and when it ends, hang on all values so far.
    fn policy(seed: u64, facts: &Numbers) -> (Trace, Arc<Answer>) {
        let mut trace = Trace::default();
        let mut state = Dice(seed);
        for _ in 0..state.below(6) {
            let asked = fact(u8::try_from(state.below(8)).unwrap());
            let value = match trace.get(&asked) {
                Some(value) => value.clone(),
                None => {
                    let value = facts.read(&asked).into_owned();
                    trace.push(asked, value.clone()).unwrap();
                    value
                }
            };
            let Value::Number(number) = value else { break };
            state.0 = state.0.wrapping_mul(31).wrapping_add(number);
            if state.below(4) == 0 {
                break;
            }
        }
        let form = Form::ALL[usize::try_from(state.below(4)).unwrap()];
        (trace, Arc::new(Answer::Device(Some(form))))
    }

    #[test]
    fn whatever_the_order_of_requests_the_memo_says_what_the_policy_would_say() {
        for seed in 0..300 {
            let mut dice = Dice(seed);
            // From a budget that holds a handful to one that holds all.
            let mut memo = Memo::new(1 << (11 + dice.below(9)));
            let mut hits = 0;
            for request in 0..400 {
                // Mostly a few values, which are compared; now and then one of many, which are hashed.
                let value = |dice: &mut Dice| if dice.below(6) == 0 { dice.below(9) } else { dice.below(3) };
                let number = |dice: &mut Dice| (0..8).map(|n| (n, value(dice))).filter(|(_, n)| *n > 0).collect();
                let facts = Numbers(number(&mut dice));
                let (trace, answer) = policy(seed, &facts);
                match memo.find(&facts) {
                    Some(found) => {
                        assert_eq!(found, answer, "seed {seed}, request {request}");
                        assert_eq!(memo.trace(&facts), trace, "seed {seed}, request {request}");
                        hits += 1;
                    }
                    None => assert_eq!(memo.insert(&trace, &answer), Ok(()), "seed {seed}, request {request}"),
                }
                assert!(memo.bytes() <= memo.budget, "seed {seed}, request {request}");
            }
            assert!(hits > 0, "seed {seed}");
        }
    }

    #[test]
    fn a_policy_that_is_not_pure_is_noticed() {
        let mut memo = Memo::new(1 << 20);
        let trace = |reads: &[(u8, u64)]| {
            let mut trace = Trace::default();
            for (number, value) in reads {
                trace.push(fact(*number), Value::Number(*value)).unwrap();
            }
            trace
        };
        let answer = |form| Arc::new(Answer::Device(form));
        let some = answer(Some(Form::Bot));
        assert_eq!(memo.insert(&trace(&[(1, 1), (2, 2)]), &some), Ok(()));
        assert_eq!(memo.insert(&trace(&[(1, 1), (2, 2)]), &answer(None)), Err(Impure), "another answer");
        assert_eq!(memo.insert(&trace(&[(2, 2)]), &some), Err(Impure), "another fact");
        assert_eq!(memo.insert(&trace(&[(1, 1)]), &some), Err(Impure), "an answer where it read on");
        assert_eq!(memo.insert(&trace(&[(1, 1), (2, 2), (3, 3)]), &some), Err(Impure), "a read where it answered");
        assert_eq!(memo.insert(&trace(&[(1, 1), (2, 3)]), &answer(None)), Ok(()));
    }

    #[test]
    fn names_of_facts_count() {
        let mut memo = Memo::new(1 << 20);
        let mut trace = Trace::default();
        trace.push(Fact::Query("x".repeat(1000).into()), Value::Number(1)).unwrap();
        memo.insert(&trace, &Arc::new(Answer::Device(None))).unwrap();
        assert!((1000..2000).contains(&memo.bytes()), "{}", memo.bytes());
        let mut trace = Trace::default();
        trace.push(Fact::Query("x".repeat(LARGEST).into()), Value::Number(1)).unwrap();
        let before = memo.bytes();
        memo.insert(&trace, &Arc::new(Answer::Device(None))).unwrap();
        assert_eq!(memo.bytes(), before, "too large to be worth its place");
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut memo = Memo::new(20_000);
        let answer = Arc::new(Answer::Device(None));
        let facts = |number| Numbers(BTreeMap::from([(0, number)]));
        for number in 0..1000 {
            let mut trace = Trace::default();
            trace.push(fact(0), Value::Number(number)).unwrap();
            memo.insert(&trace, &answer).unwrap();
            assert!(memo.find(&facts(0)).is_some(), "asked for all the time, gone after {number}");
        }
        assert!(memo.find(&facts(1)).is_none());
        assert!(memo.evicted() > 900, "{}", memo.evicted());
        assert!(memo.bytes() <= 20_000);
    }
}
