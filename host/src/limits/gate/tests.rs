//! Tests of the gate.

use super::*;

#[tokio::test]
async fn a_full_queue_turns_away_at_once_and_a_leaver_frees_its_place() {
    let gate = Gate::undivided(1, 1, Duration::from_secs(3600));
    let inside = gate.enter(Holder::ANYBODY).await.unwrap();
    let mut waiting = Box::pin(gate.enter(Holder::ANYBODY));
    assert!(futures_poll(&mut waiting).await.is_none());
    assert_eq!(gate.enter(Holder::ANYBODY).await.unwrap_err(), Shut::Full);
    drop(waiting);
    assert_eq!(gate.waiting(), 0);
    let mut next = Box::pin(gate.enter(Holder::ANYBODY));
    assert!(futures_poll(&mut next).await.is_none());
    drop(inside);
    assert!(next.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_queue_timeout() {
    let gate = Gate::undivided(1, 1, Duration::from_secs(30));
    let _inside = gate.enter(Holder::ANYBODY).await.unwrap();
    assert_eq!(gate.enter(Holder::ANYBODY).await.unwrap_err(), Shut::TimedOut);
}

#[tokio::test]
async fn those_who_wait_in_vain_are_sent_away() {
    let gate = Gate::undivided(1, 2, Duration::from_secs(3600));
    let inside = gate.enter(Holder::ANYBODY).await.unwrap();
    let mut waiting = Box::pin(gate.enter(Holder::ANYBODY));
    assert!(futures_poll(&mut waiting).await.is_none());
    gate.send_away();
    assert_eq!(waiting.await.unwrap_err(), Shut::InVain);
    assert_eq!(gate.waiting(), 0);
    drop(inside);
    assert!(gate.enter(Holder::ANYBODY).await.is_ok(), "it is not so for those who come later");
}

#[tokio::test]
async fn those_who_wait_are_served_in_order_of_arrival() {
    let gate = Gate::undivided(1, 3, Duration::from_secs(3600));
    let mut inside = Some(gate.enter(Holder::ANYBODY).await.unwrap());
    let mut line: Vec<_> = (0..3).map(|_| Box::pin(gate.enter(Holder::ANYBODY))).collect();
    for waiting in &mut line {
        assert!(futures_poll(waiting).await.is_none());
    }
    for turn in 0..3 {
        drop(inside.take());
        for later in &mut line[1..] {
            assert!(futures_poll(later).await.is_none(), "turn {turn}");
        }
        inside = Some(line.remove(0).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_begins_with_a_tenth_and_ends_with_all() {
    let gate = Gate::undivided(20, 0, Duration::ZERO);
    let enter_all = async || {
        let mut permits = Vec::new();
        while let Ok(permit) = gate.enter(Holder::ANYBODY).await {
            permits.push(permit);
        }
        assert_eq!(gate.inside(), permits.len());
        permits.len()
    };
    gate.start_slowly(Duration::from_secs(10));
    assert_eq!(enter_all().await, 2);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(enter_all().await, 11);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(enter_all().await, 20);
    assert_eq!(gate.inside(), 0);
}

async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

const HOUR: Duration = Duration::from_secs(3600);

fn shared(places: usize, queue: usize, share: usize) -> Gate {
    Gate::new(Shares { places, queue, share }, HOUR)
}

/// All that come one after the other: those who are inside, those who wait, and how many were turned away.
async fn crowd<'a>(
    gate: &'a Gate,
    holder: Holder,
    count: usize,
) -> (Vec<Permit>, Vec<std::pin::Pin<Box<impl Future<Output = Result<Permit, Shut>> + use<'a>>>>, usize) {
    let (mut inside, mut waiting, mut turned_away) = (Vec::new(), Vec::new(), 0);
    for _ in 0..count {
        let mut one = Box::pin(gate.enter(holder));
        match futures_poll(&mut one).await {
            Some(Ok(permit)) => inside.push(permit),
            Some(Err(shut)) => {
                assert_eq!(shut, Shut::Full);
                turned_away += 1;
            }
            None => waiting.push(one),
        }
    }
    (inside, waiting, turned_away)
}

#[tokio::test]
async fn one_holder_has_a_share_of_the_places_and_takes_no_room_of_the_line() {
    let gate = shared(8, 4, 2);
    let (alice, bob) = (Holder::user("alice"), Holder::user("bob"));
    let (mut inside, mut waiting, turned_away) = crowd(&gate, alice, 10).await;
    assert_eq!((inside.len(), waiting.len(), turned_away), (2, 4, 4));
    assert_eq!((gate.inside(), gate.waiting(), gate.is_wanted()), (2, 4, false));
    assert!(gate.enter(bob).await.is_ok(), "others pass");
    // A place of hers goes to the next of hers, in order.
    drop(inside.pop());
    assert!(futures_poll(&mut waiting[1]).await.is_none());
    let next = futures_poll(&mut waiting[0]).await;
    assert!(matches!(next, Some(Ok(_))));
    assert_eq!((gate.inside(), gate.waiting()), (2, 3));
}

#[tokio::test]
async fn a_full_gate_is_left_to_whoever_came_first_and_nobody_fills_its_line() {
    let gate = shared(8, 8, 2);
    let others: Vec<_> = ["b", "c", "d", "e"].map(Holder::user).into();
    let mut full = Vec::new();
    for other in &others {
        full.push(crowd(&gate, *other, 2).await.0);
    }
    let (alice, frank) = (Holder::user("alice"), Holder::user("frank"));
    let (inside, mut hers, turned_away) = crowd(&gate, alice, 12).await;
    assert_eq!((inside.len(), hers.len(), turned_away), (0, 10, 2), "two in the line, eight beside it");
    let (_, mut his, turned_away) = crowd(&gate, frank, 1).await;
    assert_eq!(turned_away, 0, "the line has room");
    assert!(gate.is_wanted());
    drop(full.pop());
    let hers_now: Vec<_> = [futures_poll(&mut hers[0]).await, futures_poll(&mut hers[1]).await].into();
    assert!(hers_now.iter().all(|one| matches!(one, Some(Ok(_)))));
    assert!(futures_poll(&mut hers[2]).await.is_none(), "she has her share");
    assert!(futures_poll(&mut his[0]).await.is_none());
    drop(full.pop());
    assert!(matches!(futures_poll(&mut his[0]).await, Some(Ok(_))), "he is not behind the rest of hers");
    drop(hers_now);
    assert!(matches!(futures_poll(&mut hers[2]).await, Some(Ok(_))));
}

#[tokio::test]
async fn who_leaves_the_line_makes_room_and_nothing_is_kept_of_anybody() {
    let gate = shared(2, 4, 1);
    let (alice, bob) = (Holder::user("alice"), Holder::user("bob"));
    let (inside, mut waiting, _) = crowd(&gate, alice, 5).await;
    drop(waiting.remove(0));
    assert_eq!(gate.waiting(), 3);
    let other = gate.enter(bob).await.unwrap();
    gate.send_away();
    for one in &mut waiting {
        assert!(matches!(futures_poll(one).await, Some(Err(Shut::InVain))));
    }
    drop((inside, waiting, other));
    assert_eq!((gate.inside(), gate.waiting()), (0, 0));
    assert!(gate.places().holders.is_empty());
}

#[tokio::test]
async fn a_place_that_is_given_to_somebody_who_is_gone_goes_to_the_next() {
    let gate = shared(1, 4, 1);
    let inside = gate.enter(Holder::user("a")).await.unwrap();
    let (_, first, _) = crowd(&gate, Holder::user("b"), 1).await;
    let (_, mut second, _) = crowd(&gate, Holder::user("c"), 1).await;
    drop(inside);
    // It was told, and has not looked.
    drop(first);
    assert!(matches!(futures_poll(&mut second[0]).await, Some(Ok(_))));
    drop(second);
    assert_eq!(gate.inside(), 0);
}

/// Whoever waits, with the number of arrival.
type Waiter<'a> = (u64, Holder, std::pin::Pin<Box<dyn Future<Output = Result<Permit, Shut>> + 'a>>);

/// A gate under a crowd that comes, leaves and loses patience while it is made larger and smaller.
struct Crowd<'a> {
    gate: &'a Gate,
    inside: Vec<(Holder, Permit)>,
    waiting: Vec<Waiter<'a>>,
    arrivals: u64,
    served: usize,
    turned_away: usize,
}

impl<'a> Crowd<'a> {
    fn new(gate: &'a Gate) -> Self {
        Self { gate, inside: Vec::new(), waiting: Vec::new(), arrivals: 0, served: 0, turned_away: 0 }
    }

    async fn comes(&mut self, holder: Holder) {
        // Who comes gives back what is due of a slow start.
        self.gate.give_back();
        self.look().await;
        let mut one: Waiter<'a> = (self.arrivals, holder, Box::pin(self.gate.enter(holder)));
        self.arrivals += 1;
        match futures_poll(&mut one.2).await {
            Some(Ok(permit)) => {
                assert!(self.waiting.iter().all(|(_, other, _)| *other != holder), "passes nobody of his own");
                self.inside.push((holder, permit));
            }
            Some(Err(_)) => self.turned_away += 1,
            None => self.waiting.push(one),
        }
    }

    /// All who wait look whether they are told something.
    async fn look(&mut self) {
        let mut still: Vec<Waiter<'a>> = Vec::new();
        for (number, holder, mut one) in std::mem::take(&mut self.waiting) {
            match futures_poll(&mut one).await {
                Some(Ok(permit)) => {
                    assert!(still.iter().all(|(_, other, _)| *other != holder), "in order of arrival");
                    self.inside.push((holder, permit));
                    self.served += 1;
                }
                Some(Err(_)) => self.turned_away += 1,
                None => still.push((number, holder, one)),
            }
        }
        self.waiting = still;
    }

    fn of(&self, holder: Holder) -> usize {
        self.inside.iter().filter(|(other, _)| *other == holder).count()
    }

    fn holds(&self) {
        let places = self.gate.places();
        assert_eq!((places.inside, places.line.len() + places.beside), (self.inside.len(), self.waiting.len()));
        assert!(places.free() == 0 || places.line.is_empty(), "nobody waits for a place that is free");
        for (holder, share) in &places.holders {
            assert_eq!(share.inside, self.of(*holder));
            assert_eq!(share.in_line, places.line.iter().filter(|one| one.holder == *holder).count());
            assert!(share.beside.is_empty() || share.inside + share.in_line > 0, "nobody is forgotten beside the line");
            assert!(share.beside.len() <= places.shares.queue && !share.is_empty());
        }
    }
}

/// Numbers that are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn shares(&mut self) -> Shares {
        let places = 1 + self.below(8);
        Shares { places, queue: self.below(6), share: 1 + self.below(places) }
    }
}

#[tokio::test(start_paused = true)]
async fn however_it_is_resized_no_more_than_may_be_pass_and_nobody_is_forgotten() {
    let holders = ["alice", "bob", "carol", "dave"].map(Holder::user);
    let (mut served, mut turned_away) = (0, 0);
    for seed in 1..=300_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let gate = Gate::new(dice.shares(), HOUR);
        let mut crowd = Crowd::new(&gate);
        for _ in 0..80 {
            let before: Vec<usize> = holders.iter().map(|holder| crowd.of(*holder)).collect();
            let all_before = crowd.inside.len();
            let line = |gate: &Gate| gate.places().line.iter().map(|one| one.number).collect::<Vec<_>>();
            match dice.below(12) {
                0..5 => crowd.comes(holders[dice.below(4)]).await,
                5..8 if !crowd.inside.is_empty() => drop(crowd.inside.swap_remove(dice.below(crowd.inside.len()))),
                8 if !crowd.waiting.is_empty() => drop(crowd.waiting.remove(dice.below(crowd.waiting.len()))),
                9 => gate.start_slowly(Duration::from_secs(10)),
                10 => {
                    tokio::time::advance(Duration::from_secs(3)).await;
                    gate.give_back();
                }
                _ => {
                    let old = line(&gate);
                    gate.resize(dice.shares(), HOUR);
                    let new = line(&gate);
                    let kept: Vec<_> = old.iter().filter(|number| new.contains(number)).collect();
                    assert!(new.iter().filter(|number| old.contains(number)).eq(kept), "each keeps his place in line");
                }
            }
            crowd.look().await;
            crowd.holds();
            let shares = gate.places().shares;
            assert!(crowd.inside.len() <= shares.places.max(all_before), "seed {seed}: {shares:?}");
            for (holder, before) in holders.iter().zip(before) {
                assert!(crowd.of(*holder) <= shares.share.max(before), "seed {seed}: {shares:?}");
            }
        }
        // In the end all who still wait are served.
        tokio::time::advance(Duration::from_secs(10)).await;
        gate.give_back();
        while !crowd.inside.is_empty() || !crowd.waiting.is_empty() {
            assert!(!crowd.inside.is_empty(), "seed {seed}: somebody waits for nothing");
            crowd.inside.clear();
            crowd.look().await;
            crowd.holds();
        }
        assert!(gate.places().holders.is_empty());
        (served, turned_away) = (served + crowd.served, turned_away + crowd.turned_away);
    }
    assert!(served > 2000 && turned_away > 2000, "{served} {turned_away}");
}

#[tokio::test]
async fn a_smaller_gate_withholds_places_as_they_come_free_and_a_larger_one_lets_in_at_once() {
    let gate = Gate::undivided(4, 4, HOUR);
    let (mut inside, mut waiting, _) = crowd(&gate, Holder::ANYBODY, 6).await;
    let of = |places, queue| Shares { places, queue, share: places };
    gate.resize(of(2, 4), HOUR);
    inside.truncate(2);
    assert!(futures_poll(&mut waiting[0]).await.is_none(), "as many are inside as may be");
    assert_eq!(gate.waiting(), 2);
    inside.truncate(1);
    inside.extend(futures_poll(&mut waiting.remove(0)).await.expect("his turn"));
    assert!(futures_poll(&mut waiting[0]).await.is_none());
    gate.resize(of(3, 4), HOUR);
    inside.extend(futures_poll(&mut waiting.remove(0)).await.expect("at once"));
    assert_eq!((gate.inside(), gate.waiting()), (3, 0));
    let (_, mut waiting, _) = crowd(&gate, Holder::ANYBODY, 3).await;
    gate.resize(of(3, 1), HOUR);
    assert!(futures_poll(&mut waiting[0]).await.is_none(), "the first stays");
    for later in &mut waiting[1..] {
        assert!(matches!(futures_poll(later).await, Some(Err(Shut::Full))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_goes_on_in_a_gate_of_another_size() {
    let gate = Gate::undivided(20, 0, Duration::ZERO);
    gate.start_slowly(Duration::from_secs(10));
    gate.resize(Shares { places: 40, queue: 0, share: 40 }, Duration::ZERO);
    let (mut inside, ..) = crowd(&gate, Holder::ANYBODY, 40).await;
    assert_eq!(inside.len(), 4);
    tokio::time::advance(Duration::from_secs(5)).await;
    inside.extend(crowd(&gate, Holder::ANYBODY, 40).await.0);
    assert_eq!(inside.len(), 22);
    gate.resize(Shares { places: 30, queue: 0, share: 30 }, Duration::ZERO);
    assert_eq!(crowd(&gate, Holder::ANYBODY, 40).await.0.len(), 0);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(crowd(&gate, Holder::ANYBODY, 40).await.0.len(), 8);
}
